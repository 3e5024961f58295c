/* Batch norm, leaky integrate-and-fire over all time steps and max pooling in one pass each way.
 *
 * Memory is [T, images, height, width, C], channels last. The scan takes LANES channels of a
 * window of positions through all steps at once, so that membrane potentials stay in registers
 * or next to them, and spikes before pooling are never written.
 */

#include "moments.h"

INLINE Vector where(Mask mask, Vector value) { return (Vector)((Mask)value & mask); }
INLINE Vector channels_of(const double *channel, int64_t n) {
  Vector value = {0};
  for (int64_t l = 0; l < n; l++) value[l] = (REAL)channel[l];
  return value;
}
INLINE void gather(double *channel, Vector sum, int64_t n) {
  for (int64_t l = 0; l < n; l++) channel[l] += sum[l];
}

/* Call a function with its last arguments, window k and lanes n, known to the compiler: the widths
 * that are multiples of 4, without pooling and with the usual one. */
#define SPECIALIZE(function, ...)                                                             \
  do {                                                                                        \
    if (k == 1 && n == LANES) function(__VA_ARGS__, 1, LANES);                                \
    else if (k == 2 && n == LANES) function(__VA_ARGS__, 2, LANES);                           \
    else if (LANES > 4 && k == 1 && n == 4) function(__VA_ARGS__, 1, 4);                      \
    else if (LANES > 4 && k == 2 && n == 4) function(__VA_ARGS__, 2, 4);                      \
    else if (LANES > 8 && k == 1 && n == 8) function(__VA_ARGS__, 1, 8);                      \
    else if (LANES > 8 && k == 2 && n == 8) function(__VA_ARGS__, 2, 8);                      \
    else if (LANES > 8 && k == 1 && n == 12) function(__VA_ARGS__, 1, 12);                    \
    else if (LANES > 8 && k == 2 && n == 12) function(__VA_ARGS__, 2, 12);                    \
    else function(__VA_ARGS__, k, n);                                                         \
  } while (0)

typedef struct {
  int64_t images, height, width, channels;
  int64_t window;       /* of the max pooling, a divisor of height and width; 1: none */
  int64_t steps, given; /* T, and how many of them the input has: T or 1 */
  double decay, threshold;
  int64_t subtract, fast_sigmoid; /* reset and surrogate; 0: to zero, atan */
} Shape;

static int64_t positions(const Shape *p) { return p->images * p->height * p->width; }

/* What is done to each number alone is done to tiles of whole positions, with the constants of
 * their channels repeated, so that every inner loop is one straight line. */
enum { TILE = 4096 };

static int64_t per_tile(const Shape *p) {
  const int64_t rows = TILE / p->channels, all = positions(p);
  return rows < 1 ? 1 : (rows > all ? all : rows);
}

static void repeat(REAL *tile, const double *channel, int64_t channels, int64_t length) {
  for (int64_t at = 0; at < length; at += channels)
    for (int64_t i = 0; i < channels; i++) tile[at + i] = (REAL)channel[i];
}

typedef struct {
  double momentum, epsilon;
  int64_t training; /* statistics of x, which move the running ones; 0: the running ones */
} Norm;

enum { SCALE, BIAS, CENTER, RSTD, ROWS };

/* Add a tile of sums to the sums of its channels, and clear it. */
static void collect(double *channel, REAL *tile, int64_t channels, int64_t length) {
  for (int64_t at = 0; at < length; at += channels)
    for (int64_t i = 0; i < channels; i++) channel[i] += tile[at + i];
  memset(tile, 0, length * sizeof(REAL));
}

/* The moments of all that is given, where they were not taken as it was written. */
static void measure(const DTYPE *x, const Shape *p, double *moments) {
  const int64_t c = p->channels, total = p->given * positions(p) * c;
  const int64_t full = per_tile(p) * c;
  REAL *memory = calloc(3 * full, sizeof(REAL));
  REAL *one = memory, *two = memory + full, *around = memory + 2 * full;
  memset(moments, 0, MOMENTS * c * sizeof(double));
  for (int64_t i = 0; i < c; i++) moments[AROUND * c + i] = load(x[i]);
  repeat(around, moments + AROUND * c, c, full);
  int64_t tiles = 0;
  for (int64_t at = 0; at < total; at += full) {
    const int64_t length = total - at < full ? total - at : full;
    for (int64_t i = 0; i < length; i++) {
      const REAL value = load(x[at + i]) - around[i];
      one[i] += value;
      two[i] += value * value;
    }
    if (++tiles % 256 == 0) { /* long sums go on in double precision */
      collect(moments + SUM * c, one, c, full);
      collect(moments + SQUARE * c, two, c, full);
    }
  }
  collect(moments + SUM * c, one, c, full);
  collect(moments + SQUARE * c, two, c, full);
  free(memory);
}

/* y = x * SCALE + BIAS, where SCALE = weight * RSTD: the constants of this pass, [ROWS, C]. */
static void prepare(const double *moments, const REAL *weight, const REAL *bias, REAL *running_mean,
                    REAL *running_variance, const Norm *norm, const Shape *p, double *constants) {
  const int64_t c = p->channels;
  const double number = (double)(p->given * positions(p));
  const REAL momentum = (REAL)norm->momentum;
  for (int64_t i = 0; i < c; i++) {
    double mean = running_mean[i], variance = running_variance[i];
    if (norm->training) {
      const double offset = moments[SUM * c + i] / number;
      const double error = moments[SQUARE * c + i] / number - offset * offset;
      mean = moments[AROUND * c + i] + offset, variance = error < 0 ? 0 : error;
      const REAL unbiased = (REAL)(variance * (number / (number - 1)));
      running_mean[i] += momentum * ((REAL)mean - running_mean[i]);
      running_variance[i] += momentum * (unbiased - running_variance[i]);
    }
    const double rstd = 1 / sqrt(variance + norm->epsilon), scale = weight[i] * rstd;
    constants[SCALE * c + i] = scale;
    constants[BIAS * c + i] = bias[i] - mean * scale;
    constants[CENTER * c + i] = mean;
    constants[RSTD * c + i] = rstd;
  }
}

/* Membrane potential after one more step; `before` is that of the last one. */
INLINE Vector advance(Vector current, Vector before, int first, const Shape *p) {
  if (first) return current;
  const REAL decay = (REAL)p->decay, threshold = (REAL)p->threshold;
  const Mask fired = before > threshold;
  const Vector full = before * decay;
  return current + (p->subtract ? full - where(fired, threshold - (Vector){0}) : where(~fired, full));
}

/* How many channels there are in the vector that begins with channel `from`. */
INLINE int64_t lanes_at(const Shape *p, int64_t from) {
  return p->channels - from < LANES ? p->channels - from : LANES;
}

/* A part of a row of windows. It is small enough to stay in the nearest cache while one part of the
 * channels after the other is computed, and the next block is fetched meanwhile: the rows of all steps
 * are too many streams for a processor to foresee. */
typedef struct {
  int64_t x, spikes;      /* where it starts, in the input and behind the pooling */
  int64_t windows, ahead; /* how many, and how far on in the input the next block starts */
} Block;

enum { BLOCK = 4096 }; /* bytes of input, unless a single window has more */

static Block block_at(const Shape *p, int64_t image, int64_t i, int64_t j) {
  const int64_t c = p->channels, k = p->window, row = p->width * c, wide = p->width / k;
  const int64_t fit = BLOCK / (int64_t)sizeof(DTYPE) / (k * k * c * p->given), left = wide - j;
  const int64_t windows = fit < 1 ? 1 : fit < left ? fit : left;
  return (Block){.x = (image * p->height + i * k) * row + j * k * c,
                 .spikes = (image * (p->height / k) + i) * (row / k) + j * c,
                 .windows = windows,
                 .ahead = windows < left ? windows * k * c : k * row - j * k * c};
}

/* Spikes of a block of windows of k x k, n <= LANES channels of it, through all steps. */
INLINE void forward_block(const DTYPE *x, Vector scale, Vector bias, const Shape *shape,
                          const Block *block, DTYPE *spikes, REAL *counts, int64_t k, int64_t n) {
  const Shape here = *shape, *p = &here; /* no write can change it */
  const int64_t c = p->channels, given = positions(p) * c, ahead = block->ahead;
  const int64_t stride = p->given < p->steps ? 0 : given, out = given / (k * k);
  const REAL threshold = (REAL)p->threshold;
  Vector u[k * k], count[p->steps];
  memset(count, 0, sizeof(count));
  for (int64_t j = 0; j < block->windows; j++)
    for (int64_t t = 0; t < p->steps; t++) {
      Mask any = {0};
      for (int64_t q = 0; q < k * k; q++) {
        const DTYPE *at = x + t * stride + (q / k * p->width + j * k + q % k) * c;
        __builtin_prefetch(at + ahead);
        u[q] = advance(read(at, n) * scale + bias, u[q], t == 0, p);
        const Mask fired = u[q] > threshold;
        any |= fired;
        if (k > 1) count[t] += where(fired, 1 - (Vector){0});
      }
      write(spikes + t * out + j * c, where(any, 1 - (Vector){0}), n);
    }
  if (counts)
    for (int64_t t = 0; t < p->steps; t++)
      for (int64_t l = 0; l < n; l++) counts[t * p->images * c + l] += count[t][l];
}

/* Spikes of x * scale + bias, the maximum of each window; and, unless `counts` is null (there is no
 * pooling, and spikes can be counted), how many there were before pooling, [T, images, C]. */
void forward(const DTYPE *x, const double *constants, const Shape *p, DTYPE *spikes, REAL *counts) {
  const int64_t c = p->channels, k = p->window, parts = (c + LANES - 1) / LANES;
  Vector scale[parts], bias[parts];
  for (int64_t part = 0; part < parts; part++) {
    const int64_t from = part * LANES, n = lanes_at(p, from);
    scale[part] = channels_of(constants + SCALE * c + from, n);
    bias[part] = channels_of(constants + BIAS * c + from, n);
  }
  for (int64_t image = 0; image < p->images; image++)
    for (int64_t i = 0; i < p->height / k; i++)
      for (int64_t j = 0; j < p->width / k;) {
        const Block block = block_at(p, image, i, j);
        for (int64_t part = 0; part < parts; part++) {
          const int64_t from = part * LANES, n = lanes_at(p, from);
          REAL *number = counts ? counts + image * c + from : 0;
          SPECIALIZE(forward_block, x + block.x + from, scale[part], bias[part], p, &block,
                     spikes + block.spikes + from, number);
        }
        j += block.windows;
      }
}

/* Both: batch norm of x, whose `moments` may be known already, and spikes. */
void norm_and_scan(const DTYPE *x, const double *moments, const REAL *weight, const REAL *bias,
                   REAL *running_mean, REAL *running_variance, const Norm *norm, const Shape *p,
                   double *constants, DTYPE *spikes, REAL *counts) {
  double measured[MOMENTS * p->channels];
  if (norm->training && !moments) measure(x, p, measured);
  prepare(moments ? moments : measured, weight, bias, running_mean, running_variance, norm, p,
          constants);
  forward(x, constants, p, spikes, counts);
}

/* Constants of each channel. The gradient of the input is made of the gradient of the normalised
 * input, the input itself, and a constant: what batch norm's backward pass comes to. */
typedef struct {
  const double *scale, *bias, *center, *rstd;
  const double *of_grad, *of_x, *constant;
} Channels;

/* Sums of each channel: gradient of the normalised input, times that input, and of the decay. */
typedef struct {
  double *grad, *product, *decay;
} Sums;

/* Both for LANES channels; the sums are those of one row. */
typedef struct {
  Vector scale, bias, center, rstd, of_grad, of_x, constant;
} Lanes;

typedef struct {
  Vector grad, product, decay;
} Totals;

INLINE Lanes lanes_of(const Channels *per, int64_t from, int64_t n) {
  return (Lanes){.scale = channels_of(per->scale + from, n),
                 .bias = channels_of(per->bias + from, n),
                 .center = channels_of(per->center + from, n),
                 .rstd = channels_of(per->rstd + from, n),
                 .of_grad = channels_of(per->of_grad + from, n),
                 .of_x = channels_of(per->of_x + from, n),
                 .constant = channels_of(per->constant + from, n)};
}

/* Gradients behind a block of windows, `forward_block` backwards. Without `totals` the gradient of x
 * goes to `out`, which may be x. With them they are added up, and the gradient of a static x, less what
 * batch norm's statistics add, goes to `out`. */
INLINE void backward_block(const DTYPE *x, const DTYPE *grad, const Lanes *lanes, const Shape *shape,
                           const Block *block, Totals *totals, DTYPE *out, int64_t k, int64_t n) {
  const Shape here = *shape, *p = &here; /* no write can change it, nor the constants */
  const Lanes constants = *lanes, *per = &constants;
  const int64_t c = p->channels, steps = p->steps, given = positions(p) * c, ahead = block->ahead;
  const int64_t stride = p->given < p->steps ? 0 : given, behind = given / (k * k);
  const REAL decay = (REAL)p->decay, threshold = (REAL)p->threshold;
  /* The surrogates are 1 / (1 + (pi x)^2) and 1 / (25 abs(x) + 1)^2. */
  const REAL steep = p->fast_sigmoid ? 25 : (REAL)3.14159265358979323846;
  const REAL offset = p->fast_sigmoid ? 1 : 0, one_more = 1 - offset;
  const Mask sign = (Mask)(-(Vector){0}), all = ~(Mask){0};
  const Mask kept = p->subtract ? all : ~all; /* does a unit that fired keep its membrane? */
  Totals sum = {{0}};
  if (totals) sum = *totals;
  Vector u[steps * k * k], last[k * k], back[k * k], total[k * k], share[k * k];
  int64_t at[k * k];
  for (int64_t j = 0; j < block->windows; j++) {
    for (int64_t q = 0; q < k * k; q++) {
      at[q] = (q / k * p->width + j * k + q % k) * c;
      last[q] = back[q] = total[q] = (Vector){0};
    }
    for (int64_t t = 0; t < steps; t++)
      for (int64_t q = 0; q < k * k; q++) {
        const DTYPE *now = x + t * stride + at[q];
        __builtin_prefetch(now + ahead);
        last[q] = advance(read(now, n) * per->scale + per->bias, last[q], t == 0, p);
        u[t * k * k + q] = last[q];
      }
    for (int64_t t = steps - 1; t >= 0; t--) {
      const Vector *ut = u + t * k * k;
      const DTYPE *now = grad + t * behind + j * c;
      __builtin_prefetch(now + ahead / k);
      Vector left = read(now, n); /* goes to the first that fired */
      for (int64_t q = 0; q < k * k; q++) {
        const Mask fired = ut[q] > threshold;
        share[q] = where(fired, left);
        left = where(~fired, left);
      }
      share[0] += left; /* or to the first of all */
      for (int64_t q = 0; q < k * k; q++) {
        const Vector over = ut[q] - threshold;
        const Vector d = steep * (Vector)((Mask)over & ~sign) + offset;
        const Vector carried = where(~(Mask)(over > 0) | kept, back[q]);
        if (totals) sum.decay += carried * ut[q];
        back[q] = share[q] / (one_more + d * d) + decay * carried;
        if (totals) total[q] += back[q];
        if (!stride) continue;
        const Vector value = read(x + t * stride + at[q], n);
        if (totals)
          sum.product += back[q] * ((value - per->center) * per->rstd);
        else
          write(out + t * stride + at[q],
                per->of_grad * back[q] + (per->of_x * value + per->constant), n);
      }
    }
    if (totals)
      for (int64_t q = 0; q < k * k; q++) {
        sum.grad += total[q];
        if (stride) continue;
        sum.product += total[q] * ((read(x + at[q], n) - per->center) * per->rstd);
        write(out + at[q], total[q], n);
      }
  }
  if (totals) *totals = sum;
}

static void backward_rows(const DTYPE *x, const DTYPE *grad, const Channels *per, const Shape *p,
                          const Sums *sums, DTYPE *out) {
  const int64_t c = p->channels, k = p->window, parts = (c + LANES - 1) / LANES;
  Lanes lanes[parts];
  Totals totals[parts];
  for (int64_t part = 0; part < parts; part++) {
    const int64_t from = part * LANES, n = lanes_at(p, from);
    lanes[part] = lanes_of(per, from, n);
  }
  for (int64_t image = 0; image < p->images; image++)
    for (int64_t i = 0; i < p->height / k; i++) {
      memset(totals, 0, sizeof(totals));
      for (int64_t j = 0; j < p->width / k;) {
        const Block block = block_at(p, image, i, j);
        for (int64_t part = 0; part < parts; part++) {
          const int64_t from = part * LANES, n = lanes_at(p, from);
          const DTYPE *here = x + block.x + from, *behind = grad + block.spikes + from;
          DTYPE *to = out ? out + block.x + from : 0;
          if (sums)
            SPECIALIZE(backward_block, here, behind, lanes + part, p, &block, totals + part, to);
          else
            SPECIALIZE(backward_block, here, behind, lanes + part, p, &block, 0, to);
        }
        j += block.windows;
      }
      for (int64_t part = 0; sums && part < parts; part++) {
        const int64_t from = part * LANES, n = lanes_at(p, from);
        gather(sums->grad + from, totals[part].grad, n);
        gather(sums->product + from, totals[part].product, n);
        gather(sums->decay + from, totals[part].decay, n);
      }
    }
}

/* out = of_grad * out + of_x * x + constant, per channel: what batch norm adds for a static x. */
static void finish(const DTYPE *x, const Channels *per, const Shape *p, DTYPE *out) {
  const int64_t c = p->channels, all = positions(p) * c, full = per_tile(p) * c;
  REAL *memory = malloc(3 * full * sizeof(REAL));
  REAL *g = memory, *f = memory + full, *k = memory + 2 * full;
  repeat(g, per->of_grad, c, full);
  repeat(f, per->of_x, c, full);
  repeat(k, per->constant, c, full);
  for (int64_t at = 0; at < all; at += full) {
    const int64_t length = all - at < full ? all - at : full;
    for (int64_t i = 0; i < length; i++)
      out[at + i] = store(load(out[at + i]) * g[i] + (load(x[at + i]) * f[i] + k[i]));
  }
  free(memory);
}

/* The gradient of x goes to `out`: the place of x itself, or another if x is static. Two passes: first
 * the sums that batch norm's gradient needs, then the gradient. Membrane potentials and all that
 * follows are computed a second time: that is quicker than to write them down and read them. */
void backward(const DTYPE *x, const DTYPE *grad, const double *constants, const Norm *norm,
              const Shape *p, DTYPE *out, REAL *of_weight, REAL *of_bias, REAL *of_decay) {
  const int64_t c = p->channels, is_static = p->given < p->steps;
  const double number = (double)(p->given * positions(p));
  double *memory = calloc(5 * c, sizeof(double));
  double *of_x = memory + 3 * c, *constant = memory + 4 * c;
  const Sums sums = {.grad = memory, .product = memory + c, .decay = memory + 2 * c};
  const Channels per = {
      .scale = constants + SCALE * c, .bias = constants + BIAS * c,
      .center = constants + CENTER * c, .rstd = constants + RSTD * c,
      .of_grad = constants + SCALE * c, .of_x = of_x, .constant = constant};
  backward_rows(x, grad, &per, p, &sums, is_static ? out : 0);
  double decay = 0;
  for (int64_t i = 0; i < c; i++) {
    if (norm->training) { /* the statistics depend on x, too */
      of_x[i] = -per.scale[i] * per.rstd[i] * sums.product[i] / number;
      constant[i] = -per.scale[i] * sums.grad[i] / number - of_x[i] * per.center[i];
    }
    of_weight[i] = (REAL)sums.product[i], of_bias[i] = (REAL)sums.grad[i];
    decay += sums.decay[i];
  }
  *of_decay = (REAL)decay;
  if (is_static)
    finish(x, &per, p, out);
  else
    backward_rows(x, grad, &per, p, 0, out);
  free(memory);
}
