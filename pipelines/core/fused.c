/* Batch norm and leaky integrate-and-fire over all time steps in one pass each way; max pooling.
 *
 * Compiled once per number format: DTYPE is what memory holds, REAL what is computed with.
 * Memory is [T, rows, C]: channels last, the units of one sample and position side by side. A
 * tile of whole rows is worked on at a time, with the constants of its channels repeated to its
 * length, so that every inner loop is one straight line over `length` elements.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(BFLOAT16)
typedef uint16_t DTYPE;
typedef float REAL;
static inline float load(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static inline uint16_t store(float value) { /* to the nearest, ties to even */
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
#else
#if defined(FLOAT64)
typedef double DTYPE;
#else
typedef float DTYPE;
#endif
typedef DTYPE REAL;
#define load(x) (x)
#define store(x) (x)
#endif

typedef struct {
  int64_t rows, channels; /* rows: samples x positions */
  int64_t steps, given;   /* T, and how many of them the input has: T or 1 */
  double decay, threshold;
  int64_t subtract, fast_sigmoid; /* reset and surrogate; 0: to zero, atan */
} Shape;

enum { TILE = 4096 };

static int64_t rows_per_tile(const Shape *p) {
  int64_t rows = TILE / p->channels;
  return rows < 1 ? 1 : (rows > p->rows ? p->rows : rows);
}

static void repeat(REAL *tile, const double *channel, int64_t channels, int64_t length) {
  for (int64_t i = 0; i < length; i++) tile[i] = (REAL)channel[i % channels];
}

/* Add a tile of sums to the sums of its channels, and clear it. */
static void gather(double *channel, REAL *tile, int64_t channels, int64_t length) {
  for (int64_t i = 0; i < length; i++) channel[i % channels] += tile[i];
  memset(tile, 0, length * sizeof(REAL));
}

/* Sum of x and of x^2 per channel around `shift`, over given x rows. */
void statistics(const DTYPE *x, const double *shift, const Shape *p, double *sum, double *square) {
  const int64_t c = p->channels, total = p->given * p->rows * c;
  const int64_t full = rows_per_tile(p) * c;
  REAL *memory = calloc(3 * full, sizeof(REAL));
  REAL *one = memory, *two = memory + full, *around = memory + 2 * full;
  repeat(around, shift, c, full);
  int64_t tiles = 0;
  for (int64_t at = 0; at < total; at += full) {
    const int64_t length = total - at < full ? total - at : full;
    for (int64_t i = 0; i < length; i++) {
      const REAL value = load(x[at + i]) - around[i];
      one[i] += value;
      two[i] += value * value;
    }
    if (++tiles % 256 == 0) { /* long sums go on in double precision */
      gather(sum, one, c, full);
      gather(square, two, c, full);
    }
  }
  gather(sum, one, c, full);
  gather(square, two, c, full);
  free(memory);
}

/* One step of a tile: membrane u and spikes f of the step before become those of this one. */
static inline void advance(const DTYPE *restrict x, const REAL *restrict scale,
                           const REAL *restrict bias, const REAL *before, REAL *now,
                           const Shape *p, int64_t first, int64_t length) {
  const REAL decay = (REAL)p->decay, threshold = (REAL)p->threshold;
  if (first) {
    for (int64_t i = 0; i < length; i++) now[i] = load(x[i]) * scale[i] + bias[i];
  } else if (p->subtract) {
    for (int64_t i = 0; i < length; i++) {
      const REAL left = before[i] * decay - (before[i] > threshold ? threshold : 0);
      now[i] = left + (load(x[i]) * scale[i] + bias[i]);
    }
  } else {
    for (int64_t i = 0; i < length; i++) {
      const REAL left = before[i] > threshold ? 0 : before[i] * decay;
      now[i] = left + (load(x[i]) * scale[i] + bias[i]);
    }
  }
}

/* spikes[t] = [u_t > threshold], of x * scale + bias. */
void forward(const DTYPE *x, const double *scale, const double *bias, const Shape *p,
             DTYPE *spikes) {
  const int64_t c = p->channels, step = p->rows * c, full = rows_per_tile(p) * c;
  const int64_t stride = p->given == 1 ? 0 : step;
  const DTYPE yes = store((REAL)1), no = store((REAL)0);
  const REAL threshold = (REAL)p->threshold;
  REAL *memory = malloc(3 * full * sizeof(REAL));
  REAL *a = memory, *b = memory + full, *u = memory + 2 * full;
  repeat(a, scale, c, full);
  repeat(b, bias, c, full);
  for (int64_t at = 0; at < step; at += full) {
    const int64_t length = step - at < full ? step - at : full;
    for (int64_t t = 0; t < p->steps; t++) {
      advance(x + t * stride + at, a, b, u, u, p, t == 0, length);
      DTYPE *out = spikes + t * step + at;
      for (int64_t i = 0; i < length; i++) out[i] = u[i] > threshold ? yes : no;
    }
  }
  free(memory);
}

/* Gradient of the normalised input, and the sums that batch norm's backward pass needs.
 *
 * The membrane potential is computed again from x, which is cheaper than reading it. `center`
 * and `rstd` are those of batch norm; `sums` holds per channel: gradient, gradient x normalised
 * input; and last, the gradient of the decay.
 */
void backward(const DTYPE *x, const DTYPE *grad, const double *scale, const double *bias,
              const double *center, const double *rstd, const Shape *p, DTYPE *out,
              double *sums) {
  const int64_t c = p->channels, step = p->rows * c, full = rows_per_tile(p) * c;
  const int64_t stride = p->given == 1 ? 0 : step, steps = p->steps;
  const REAL decay = (REAL)p->decay, threshold = (REAL)p->threshold;
  /* The surrogates are 1 / (1 + (pi x)^2) and 1 / (25 abs(x) + 1)^2. */
  const REAL steep = p->fast_sigmoid ? 25 : (REAL)3.14159265358979323846;
  const REAL offset = p->fast_sigmoid ? 1 : 0, one_more = 1 - offset;
  const REAL left = p->subtract ? 1 : 0; /* of the membrane of a unit that fired */
  REAL *memory = calloc((9 + steps) * full, sizeof(REAL));
  REAL *a = memory, *b = a + full, *m = b + full, *r = m + full, *back = r + full;
  REAL *one = back + full, *two = one + full, *three = two + full, *total = three + full;
  REAL *u = total + full; /* [steps, full] */
  repeat(a, scale, c, full);
  repeat(b, bias, c, full);
  repeat(m, center, c, full);
  repeat(r, rstd, c, full);
  double *per_decay = calloc(c, sizeof(double));
  int64_t tiles = 0;
  for (int64_t at = 0; at < step; at += full) {
    const int64_t length = step - at < full ? step - at : full;
    for (int64_t t = 0; t < steps; t++)
      advance(x + t * stride + at, a, b, u + (t ? t - 1 : 0) * full, u + t * full, p, t == 0,
              length);
    memset(back, 0, full * sizeof(REAL));
    memset(total, 0, full * sizeof(REAL));
    for (int64_t t = steps - 1; t >= 0; t--) {
      const REAL *restrict ut = u + t * full;
      const DTYPE *restrict g = grad + t * step + at, *restrict xt = x + t * stride + at;
      DTYPE *restrict o = out + t * stride + at;
      for (int64_t i = 0; i < length; i++) {
        const REAL over = ut[i] - threshold, d = steep * (over < 0 ? -over : over) + offset;
        const REAL carried = over > 0 ? back[i] * left : back[i];
        three[i] += carried * ut[i];
        back[i] = load(g[i]) / (one_more + d * d) + decay * carried;
      }
      if (stride)
        for (int64_t i = 0; i < length; i++) {
          one[i] += back[i];
          two[i] += back[i] * ((load(xt[i]) - m[i]) * r[i]);
          o[i] = store(back[i]);
        }
      else
        for (int64_t i = 0; i < length; i++) total[i] += back[i];
    }
    if (!stride)
      for (int64_t i = 0; i < length; i++) {
        one[i] += total[i];
        two[i] += total[i] * ((load(x[at + i]) - m[i]) * r[i]);
        out[at + i] = store(total[i]);
      }
    if (++tiles % 256 == 0) {
      gather(sums, one, c, full);
      gather(sums + c, two, c, full);
      gather(per_decay, three, c, full);
    }
  }
  gather(sums, one, c, full);
  gather(sums + c, two, c, full);
  gather(per_decay, three, c, full);
  for (int64_t i = 0; i < c; i++) sums[2 * c] += per_decay[i];
  free(per_decay);
  free(memory);
}

/* out = of_grad * out + of_x * x + constant, per channel: what is left of batch norm's backward. */
void combine(const DTYPE *x, const double *of_grad, const double *of_x, const double *constant,
             const Shape *p, DTYPE *out) {
  const int64_t c = p->channels, all = p->given * p->rows * c, full = rows_per_tile(p) * c;
  REAL *memory = malloc(3 * full * sizeof(REAL));
  REAL *g = memory, *f = memory + full, *k = memory + 2 * full;
  repeat(g, of_grad, c, full);
  repeat(f, of_x, c, full);
  repeat(k, constant, c, full);
  for (int64_t at = 0; at < all; at += full) {
    const int64_t length = all - at < full ? all - at : full;
    for (int64_t i = 0; i < length; i++)
      out[at + i] = store(load(out[at + i]) * g[i] + (load(x[at + i]) * f[i] + k[i]));
  }
  free(memory);
}

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
