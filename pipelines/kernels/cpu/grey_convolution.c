/* Convolution of images of one channel, and the gradient of its weights: stride one, maps keep their size.
 *
 * Images are [images, height, width], maps [images, height, width, C], weights [kernel, kernel, C]. What
 * is read of an image is little and lies in the nearest cache, with a border of zeros; LANES channels go
 * over all its places at once, their weights, or the gradients of these, in registers.
 */

#include "moments.h"

typedef struct {
  int64_t images, height, width, channels, kernel;
} Shape;

/* One image with a border. */
static void frame(const DTYPE *image, const Shape *p, REAL *framed) {
  const int64_t border = p->kernel / 2, wide = p->width + 2 * border;
  for (int64_t i = 0; i < p->height; i++)
    for (int64_t j = 0; j < p->width; j++)
      framed[(i + border) * wide + j + border] = load(image[i * p->width + j]);
}

static REAL *new_frame(const Shape *p) {
  const int64_t border = p->kernel / 2;
  return calloc((p->height + 2 * border) * (p->width + 2 * border), sizeof(REAL));
}

/* n <= LANES channels of an image's map, and its moments; k is the kernel. */
INLINE void forward_part(const REAL *framed, const DTYPE *weights, const Shape *p, DTYPE *y,
                         Moment *total, int first, int64_t k, int64_t n) {
  const int64_t c = p->channels, wide = p->width + k - 1;
  Vector w[k * k];
  for (int64_t m = 0; m < k * k; m++) w[m] = read(weights + m * c, n);
  Moment moment = *total;
  for (int64_t i = 0; i < p->height; i++)
    for (int64_t j = 0; j < p->width; j++) {
      const REAL *x = framed + i * wide + j;
      Vector sum = {0};
      for (int64_t m = 0; m < k * k; m++) sum += w[m] * x[m / k * wide + m % k];
      if (first && !i && !j) moment.around = rounded(sum);
      add(&moment, rounded(sum));
      write(y + (i * p->width + j) * c, sum, n);
    }
  *total = moment;
}

/* What an image adds to the gradients of n <= LANES channels' weights. */
INLINE void backward_part(const REAL *framed, const DTYPE *grad, const Shape *p, double *of_weights,
                          int64_t k, int64_t n) {
  const int64_t c = p->channels, wide = p->width + k - 1;
  Vector sum[k * k];
  memset(sum, 0, sizeof(sum));
  for (int64_t i = 0; i < p->height; i++)
    for (int64_t j = 0; j < p->width; j++) {
      const REAL *x = framed + i * wide + j;
      const Vector g = read(grad + (i * p->width + j) * c, n);
      for (int64_t m = 0; m < k * k; m++) sum[m] += g * x[m / k * wide + m % k];
    }
  for (int64_t m = 0; m < k * k; m++)
    for (int64_t l = 0; l < n; l++) of_weights[m * c + l] += sum[m][l];
}

/* Call a function with its last arguments, kernel and lanes, known to the compiler where that counts. */
#define PART(function, ...)                                         \
  do {                                                              \
    if (p->kernel == 3 && n == LANES) function(__VA_ARGS__, 3, LANES); \
    else function(__VA_ARGS__, p->kernel, n);                       \
  } while (0)

/* Also the moments of y, unless they are null. */
void forward(const DTYPE *x, const DTYPE *weights, const Shape *p, DTYPE *y, double *moments) {
  const int64_t c = p->channels, places = p->height * p->width, parts = (c + LANES - 1) / LANES;
  REAL *framed = new_frame(p);
  Moment total[parts];
  memset(total, 0, sizeof(total));
  if (moments) memset(moments, 0, MOMENTS * c * sizeof(double));
  for (int64_t image = 0; image < p->images; image++) {
    frame(x + image * places, p, framed);
    for (int64_t part = 0; part < parts; part++) {
      const int64_t from = part * LANES, n = c - from < LANES ? c - from : LANES;
      DTYPE *to = y + image * places * c + from;
      PART(forward_part, framed, weights + from, p, to, total + part, !image);
      if (moments) gather_moment(moments + from, total + part, c, n);
    }
  }
  free(framed);
}

void backward(const DTYPE *x, const DTYPE *grad, const Shape *p, DTYPE *of_weights) {
  const int64_t c = p->channels, places = p->height * p->width, k = p->kernel;
  REAL *framed = new_frame(p);
  double *sums = calloc(k * k * c, sizeof(double));
  for (int64_t image = 0; image < p->images; image++) {
    frame(x + image * places, p, framed);
    for (int64_t from = 0; from < c; from += LANES) {
      const int64_t n = c - from < LANES ? c - from : LANES;
      PART(backward_part, framed, grad + image * places * c + from, p, sums + from);
    }
  }
  for (int64_t m = 0; m < k * k * c; m++) of_weights[m] = store((REAL)sums[m]);
  free(framed);
  free(sums);
}
