/* Max pooling of maps [images, height, width, C], channels last, and its gradient. */

#include "vectors.h"

typedef struct {
  int64_t images, height, width, channels, size; /* windows of size x size, side by side */
} Window;

enum { LANE = 64 };

/* out = the maximum of each window. */
void pool(const DTYPE *x, const Window *p, DTYPE *out) {
  const int64_t c = p->channels, k = p->size, high = p->height / k, wide = p->width / k;
  for (int64_t n = 0; n < p->images; n++)
    for (int64_t i = 0; i < high; i++)
      for (int64_t j = 0; j < wide; j++) {
        const DTYPE *corner = x + ((n * p->height + i * k) * p->width + j * k) * c;
        DTYPE *o = out + ((n * high + i) * wide + j) * c;
        memcpy(o, corner, c * sizeof(DTYPE));
        for (int64_t q = 1; q < k * k; q++) {
          const DTYPE *at = corner + (q / k * p->width + q % k) * c;
          for (int64_t l = 0; l < c; l++) o[l] = load(at[l]) > load(o[l]) ? at[l] : o[l];
        }
      }
}

/* The gradient goes to the first maximum of each window; `to` must be zero. */
void unpool(const DTYPE *x, const DTYPE *out, const DTYPE *grad, const Window *p, DTYPE *to) {
  const int64_t c = p->channels, k = p->size, high = p->height / k, wide = p->width / k;
  REAL left[LANE];
  for (int64_t n = 0; n < p->images; n++)
    for (int64_t i = 0; i < high; i++)
      for (int64_t j = 0; j < wide; j++)
        for (int64_t from = 0; from < c; from += LANE) {
          const int64_t lanes = c - from < LANE ? c - from : LANE;
          const int64_t corner = ((n * p->height + i * k) * p->width + j * k) * c + from;
          const int64_t centre = ((n * high + i) * wide + j) * c + from;
          for (int64_t l = 0; l < lanes; l++) left[l] = load(grad[centre + l]);
          for (int64_t q = 0; q < k * k; q++) {
            const int64_t at = corner + (q / k * p->width + q % k) * c;
            for (int64_t l = 0; l < lanes; l++) {
              const int hit = load(x[at + l]) == load(out[centre + l]);
              to[at + l] = store(hit ? left[l] : 0);
              left[l] = hit ? 0 : left[l];
            }
          }
        }
}
