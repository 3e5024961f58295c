/* Event-driven layers of leaky neurons, for one sample.
 *
 * An event is an input that is not zero. It adds the weights that lead from it, without those that are
 * zero, to the membrane potentials. So the additions are the SynOps of the layer, and they are counted.
 * Neurons and pooling are computed for all units and steps; a compiler makes vectors of these loops.
 *
 * Maps are [channels, places] with the places of a map in rows.
 */

#include "vectors.h"

typedef struct {
  /* Places of a class meet the same weights of a channel, at the same distances. */
  int64_t channels, places, classes;
  const int32_t *class, *base;  /* of each place: its class, and where its distances begin */
  const int64_t *starts;        /* of the list of a channel and class */
  const int32_t *distance;      /* of each weight of a list */
  const DTYPE *weights;
  const DTYPE *bias;            /* of each neuron, or each output of the readout */
  int64_t units, height, width; /* of the neurons */
  double decay, threshold;
  int64_t subtract;             /* whether a spike subtracts the threshold; else the potential is zero */
  int64_t window_height, window_width, down, right, border, maximum; /* of pooling; a window of 0: none */
  int64_t pooled_height, pooled_width;
  const uint8_t *heard; /* [steps, units], whether a spike is sent; null: all are */
} Layer;

typedef struct {
  int64_t layers, steps; /* the readout is the last layer, and has no neurons */
  DTYPE *potentials, *fired, *even, *odd; /* room for the largest map; for all steps of one */
  int32_t *found;
} Stack;

/* Add the weights of all events of an input. Returns how many were added. */
static int64_t receive(const Layer *layer, const DTYPE *x, DTYPE *potentials, int32_t *found) {
  const Layer l = *layer;
  int64_t added = 0;
  for (int64_t c = 0; c < l.channels; c++, x += l.places) {
    int64_t n = 0;
    for (int64_t i = 0; i < l.places; i++) {
      found[n] = (int32_t)i;
      n += x[i] != 0;
    }
    const int64_t *starts = l.starts + c * l.classes;
    for (int64_t k = 0; k < n; k++) {
      const int32_t place = found[k];
      const DTYPE value = x[place];
      const int64_t first = starts[l.class[place]], last = starts[l.class[place] + 1];
      DTYPE *at = potentials + l.base[place];
      for (int64_t w = first; w < last; w++) at[l.distance[w]] += value * l.weights[w];
      added += last - first;
    }
  }
  return added;
}

/* Find the spikes of a step, and let the potentials decay for the next one, whose input begins with the
 * current `base`. */
INLINE void fire(DTYPE *restrict u, const DTYPE *restrict base, DTYPE *restrict spikes, int64_t n,
                 DTYPE decay, DTYPE threshold, int subtract) {
  for (int64_t i = 0; i < n; i++) {
    const DTYPE spike = u[i] > threshold ? 1 : 0;
    spikes[i] = spike;
    u[i] = base[i] + (subtract ? decay * u[i] - spike * threshold : spike ? 0 : decay * u[i]);
  }
}

/* Maxima of pairs of rows and columns. */
static void pool_pairs(const Layer *l, const DTYPE *restrict x, DTYPE *restrict y) {
  const int64_t height = l->pooled_height, width = l->pooled_width, row = l->width;
  for (int64_t u = 0; u < l->units; u++, x += l->height * row)
    for (int64_t i = 0; i < height; i++, y += width)
      for (int64_t j = 0; j < width; j++) {
        const DTYPE *at = x + 2 * i * row + 2 * j;
        const DTYPE above = at[0] > at[1] ? at[0] : at[1];
        const DTYPE below = at[row] > at[row + 1] ? at[row] : at[row + 1];
        y[j] = above > below ? above : below;
      }
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Any pooling of outputs that are not negative. */
static void pool(const Layer *l, const DTYPE *x, DTYPE *y) {
  const DTYPE size = (DTYPE)(l->window_height * l->window_width);
  for (int64_t u = 0; u < l->units; u++, x += l->height * l->width)
    for (int64_t i = 0; i < l->pooled_height; i++)
      for (int64_t j = 0; j < l->pooled_width; j++) {
        const int64_t top = i * l->down - l->border, left = j * l->right - l->border;
        DTYPE most = 0, sum = 0;
        for (int64_t m = larger(top, 0); m < smaller(top + l->window_height, l->height); m++)
          for (int64_t n = larger(left, 0); n < smaller(left + l->window_width, l->width); n++) {
            const DTYPE value = x[m * l->width + n];
            most = value > most ? value : most;
            sum += value;
          }
        *y++ = l->maximum ? most : sum / size;
      }
}

/* The neurons of a layer at one step, and pooling. */
static void send(const Layer *l, const DTYPE *base, int64_t step, DTYPE *u, DTYPE *fired, DTYPE *y) {
  const int64_t size = l->height * l->width, n = l->units * size;
  DTYPE *spikes = l->window_height ? fired : y;
  if (l->subtract) fire(u, base, spikes, n, (DTYPE)l->decay, (DTYPE)l->threshold, 1);
  else fire(u, base, spikes, n, (DTYPE)l->decay, (DTYPE)l->threshold, 0);
  for (int64_t unit = 0; l->heard && unit < l->units; unit++)
    if (!l->heard[step * l->units + unit]) memset(spikes + unit * size, 0, size * sizeof(DTYPE));
  const int pairs = l->window_height == 2 && l->window_width == 2 && l->down == 2 && l->right == 2;
  if (pairs && !l->border && l->maximum) pool_pairs(l, spikes, y);
  else if (l->window_height) pool(l, spikes, y);
}

/* Scores of one sample.
 *
 * `x` has its events, [steps, channels, places]; or `still` has the current of the first layer, the same
 * at each step, and the other pointer is null. `added` gets the additions of each layer. */
void infer(const Layer *layers, const Stack *stack, const DTYPE *x, const DTYPE *still, DTYPE *scores,
           int64_t *added) {
  const int64_t last = stack->layers - 1, steps = stack->steps;
  for (int64_t i = 0; i < last; i++) {
    const Layer *l = layers + i;
    const DTYPE *base = i || !still ? l->bias : still;
    DTYPE *u = stack->potentials, *y = i % 2 ? stack->odd : stack->even, *next = y;
    const int64_t received = l->channels * l->places;
    const int64_t sent = l->units * (l->window_height ? l->pooled_height * l->pooled_width : l->height * l->width);
    memcpy(u, base, l->units * l->height * l->width * sizeof(DTYPE));
    added[i] = 0;
    for (int64_t t = 0; t < steps; t++, next += sent) {
      if (x) added[i] += receive(l, x + t * received, u, stack->found);
      send(l, base, t, u, stack->fired, next);
    }
    x = y;
  }
  const Layer *readout = layers + last;
  const int64_t features = readout->channels * readout->places;
  memset(scores, 0, readout->units * sizeof(DTYPE));
  added[last] = 0;
  for (int64_t t = 0; t < steps; t++)
    added[last] += receive(readout, x + t * features, scores, stack->found);
  for (int64_t o = 0; o < readout->units; o++)
    scores[o] = scores[o] / (DTYPE)steps + readout->bias[o];
}

typedef struct {
  int64_t channels, height, width, stride, border; /* of the image */
  int64_t units, rows, columns;                    /* of the output */
  int64_t pitch, plane;  /* of the image with its border: one plane for each phase of the stride */
  const int64_t *starts; /* of the weights of a unit that are not zero */
  const int32_t *places; /* of each: where it begins in the planes */
  const DTYPE *weights, *bias;
  DTYPE *planes, *sums;
} Still;

enum { PARALLEL = 4 }; /* vectors of sums in registers */

/* The current of an image: of each weight, all positions at once. */
void convolve(const Still *still, const DTYPE *x, DTYPE *y) {
  const Still s = *still;
  for (int64_t c = 0; c < s.channels; c++)
    for (int64_t i = 0; i < s.height; i++)
      for (int64_t a = 0; a < s.stride; a++) {
        const int64_t row = i + s.border, first = (a + s.stride - s.border % s.stride) % s.stride;
        DTYPE *to = s.planes + ((c * s.stride + row % s.stride) * s.stride + a) * s.plane +
                    row / s.stride * s.pitch + (first + s.border) / s.stride;
        for (int64_t j = first; j < s.width; j += s.stride) *to++ = x[(c * s.height + i) * s.width + j];
      }
  for (int64_t unit = 0; unit < s.units; unit++) {
    for (int64_t from = 0; from < s.rows * s.pitch; from += PARALLEL * LANES) {
      Vector sum[PARALLEL] = {0};
      for (int64_t w = s.starts[unit]; w < s.starts[unit + 1]; w++)
        for (int64_t v = 0; v < PARALLEL; v++)
          sum[v] += s.weights[w] * read(s.planes + s.places[w] + from + v * LANES, LANES);
      for (int64_t v = 0; v < PARALLEL; v++) write(s.sums + from + v * LANES, sum[v], LANES);
    }
    for (int64_t i = 0; i < s.rows; i++)
      for (int64_t j = 0; j < s.columns; j++) *y++ = s.sums[i * s.pitch + j] + s.bias[unit];
  }
}
