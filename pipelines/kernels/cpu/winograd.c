/* Convolution with a kernel of 3 x 3 in fewer multiplications (Winograd; Lavin and Gray, arXiv 1509.09308).
 *
 * The four numbers of a tile of 2 x 2 outputs are sums over the 4 x 4 inputs that they see. Inputs and
 * weights are transformed, both to 4 x 4 numbers, so that each of the 16 is multiplied once: four for an
 * output, where its window has nine. Maps are [images, height, width, channels], weights
 * [out, 3, 3, in] or, for the gradient of the input, [in, 3, 3, out]; the border is zero.
 */

#include "vectors.h"

typedef struct {
  int64_t images, height, width, in, out;
  int64_t transposed; /* weights [in, 3, 3, out], turned around: those of the gradient */
} Shape;

enum { POINTS = 16, TILES = 48, GROUP = 6, SLICE = 2 };

/* Tiles are taken TILES at a time. What is multiplied then lies in the cache: inputs
 * [POINTS, TILES, in], products [POINTS, TILES, out], and weights [POINTS, slices, in, SLICE vectors];
 * channels fill whole vectors, and some room between the points keeps them off each other's place. */
typedef struct {
  int64_t in, out, slices; /* vectors of inputs and outputs */
  int64_t step_in, step_out, step_weights; /* from a point to the next */
  Vector *inputs, *products, *weights;
  DTYPE *border; /* a tile at the edge, with the zeros around */
} Room;

static Vector *vectors(int64_t n) {
  Vector *memory = aligned_alloc(BYTES, n * sizeof(Vector));
  memset(memory, 0, n * sizeof(Vector));
  return memory;
}

static Room new_room(const Shape *p) {
  Room r = {.in = (p->in + LANES - 1) / LANES, .out = (p->out + LANES - 1) / LANES};
  r.slices = (r.out + SLICE - 1) / SLICE;
  r.step_in = TILES * r.in + 2, r.step_out = TILES * r.slices * SLICE + 2;
  r.step_weights = r.slices * SLICE * p->in + 2;
  r.inputs = vectors(POINTS * r.step_in);
  r.products = vectors(POINTS * r.step_out);
  r.weights = vectors(POINTS * r.step_weights);
  r.border = calloc(POINTS * p->in + LANES, sizeof(DTYPE));
  return r;
}

static void free_room(const Room *r) {
  free(r->inputs);
  free(r->products);
  free(r->weights);
  free(r->border);
}

/* The transforms of four numbers, of three weights, and back to two outputs. */
#define INPUTS(to, a, b, c, d) \
  (to)[0] = (a) - (c), (to)[1] = (b) + (c), (to)[2] = (c) - (b), (to)[3] = (b) - (d)
#define WEIGHTS(to, a, b, c) \
  (to)[0] = (a), (to)[1] = ((a) + (b) + (c)) / 2, (to)[2] = ((a) - (b) + (c)) / 2, (to)[3] = (c)
#define OUTPUTS(to, a, b, c, d) (to)[0] = (a) + (b) + (c), (to)[1] = (b) - (c) - (d)

static void transform_weights(const DTYPE *weights, const Shape *p, const Room *r) {
  const int64_t width = SLICE * LANES;
  for (int64_t i = 0; i < p->in; i++)
    for (int64_t o = 0; o < p->out; o++) {
      REAL w[9], half[3][4], whole[4];
      for (int64_t m = 0; m < 9; m++)
        w[m] = load(p->transposed ? weights[(i * 9 + 8 - m) * p->out + o]
                                  : weights[(o * 9 + m) * p->in + i]);
      for (int64_t m = 0; m < 3; m++) WEIGHTS(half[m], w[3 * m], w[3 * m + 1], w[3 * m + 2]);
      REAL *to = (REAL *)r->weights + (o / width * p->in + i) * width + o % width;
      for (int64_t l = 0; l < 4; l++) {
        WEIGHTS(whole, half[0][l], half[1][l], half[2][l]);
        for (int64_t m = 0; m < 4; m++)
          to[(m * 4 + l) * r->step_weights * LANES] = whole[m];
      }
    }
}

/* A vector of channels of the 4 x 4 places that a tile sees. */
INLINE void transform_input(const DTYPE *x, int64_t row, int64_t channels, Vector *to, int64_t step) {
  Vector half[4][4], whole[4];
#pragma GCC unroll 4
  for (int64_t m = 0; m < 4; m++) {
    Vector seen[4];
    for (int64_t l = 0; l < 4; l++) seen[l] = read(x + m * row + l * channels, LANES);
    INPUTS(half[m], seen[0], seen[1], seen[2], seen[3]);
  }
  for (int64_t l = 0; l < 4; l++) {
    INPUTS(whole, half[0][l], half[1][l], half[2][l], half[3][l]);
    for (int64_t m = 0; m < 4; m++) to[(m * 4 + l) * step] = whole[m];
  }
}

typedef struct {
  int64_t image, i, j; /* where its first output is */
} Tile;

static Tile tile_at(const Shape *p, int64_t number) {
  const int64_t high = (p->height + 1) / 2, wide = (p->width + 1) / 2;
  return (Tile){number / (high * wide), number / wide % high * 2, number % wide * 2};
}

/* What a tile at the edge sees, with the zeros around. */
static const DTYPE *bordered(const DTYPE *x, const Shape *p, const Room *r, Tile tile) {
  const int64_t in = p->in, top = tile.i - 1, left = tile.j - 1;
  const int64_t from = left < 0, to = left + 4 > p->width ? p->width - left : 4;
  memset(r->border, 0, POINTS * in * sizeof(DTYPE));
  for (int64_t m = 0; m < 4; m++)
    if (top + m >= 0 && top + m < p->height)
      memcpy(r->border + (m * 4 + from) * in,
             x + ((tile.image * p->height + top + m) * p->width + left + from) * in,
             (to - from) * in * sizeof(DTYPE));
  return r->border;
}

/* Transform what a tile sees. Its last vectors may begin in one place and end in the next. */
static void fetch(const DTYPE *x, const Shape *p, const Room *r, Tile tile, int64_t number) {
  const int64_t in = p->in, all = p->images * p->height * p->width * in;
  const int64_t top = tile.i - 1, left = tile.j - 1, row = p->width * in;
  const int64_t at = ((tile.image * p->height + top) * p->width + left) * in;
  const int inside = top >= 0 && left >= 0 && top + 4 <= p->height && left + 4 <= p->width &&
                     at + 3 * row + 3 * in + r->in * LANES <= all;
  const DTYPE *seen = inside ? x + at : bordered(x, p, r, tile);
  const DTYPE *below = x + at + 4 * row + in; /* what the tile there sees that this one does not */
  for (int64_t v = 0; v < r->in; v++) {
    for (int64_t m = 0; m < 4; m++)
      __builtin_prefetch(below + m / 2 * row + m % 2 * in + v * LANES);
    transform_input(seen + v * LANES, inside ? row : 4 * in, in,
                    r->inputs + number * r->in + v, r->step_in);
  }
}

/* Products of a point and n vectors of outputs; those of GROUP tiles stay in registers. */
INLINE void multiply(const Shape *p, const Room *r, int64_t point, int64_t slice, int64_t n) {
  const int64_t in = p->in, row = r->in * LANES, width = r->slices * SLICE;
  const Vector *weights = r->weights + point * r->step_weights + slice * in * SLICE;
  for (int64_t tile = 0; tile < TILES; tile += GROUP) {
    const REAL *x = (const REAL *)(r->inputs + point * r->step_in + tile * r->in);
    Vector sum[GROUP][SLICE] = {{{0}}};
    for (int64_t i = 0; i < in; i++)
      for (int64_t g = 0; g < GROUP; g++)
        for (int64_t v = 0; v < n; v++) sum[g][v] += weights[i * SLICE + v] * x[g * row + i];
    Vector *to = r->products + point * r->step_out + tile * width + slice * SLICE;
    for (int64_t g = 0; g < GROUP; g++)
      for (int64_t v = 0; v < n; v++) to[g * width + v] = sum[g][v];
  }
}

/* n <= LANES channels of a tile; what lies outside the map is not written. */
INLINE void transform_output(const Vector *from, int64_t step, DTYPE **to, int64_t n) {
  Vector half[4][2], whole[2];
  for (int64_t m = 0; m < 4; m++)
    OUTPUTS(half[m], from[m * 4 * step], from[(m * 4 + 1) * step], from[(m * 4 + 2) * step],
            from[(m * 4 + 3) * step]);
  for (int64_t l = 0; l < 2; l++) {
    OUTPUTS(whole, half[0][l], half[1][l], half[2][l], half[3][l]);
    for (int64_t m = 0; m < 2; m++)
      if (to[m * 2 + l]) write(to[m * 2 + l], whole[m], n);
  }
}

static void deliver(DTYPE *y, const Shape *p, const Room *r, Tile tile, int64_t number) {
  y += tile.image * p->height * p->width * p->out;
  for (int64_t from = 0; from < p->out; from += LANES) {
    DTYPE *to[4];
    for (int64_t m = 0; m < 4; m++) {
      const int64_t i = tile.i + m / 2, j = tile.j + m % 2;
      const int inside = i < p->height && j < p->width;
      to[m] = inside ? y + (i * p->width + j) * p->out + from : 0;
    }
    const Vector *products = r->products + number * r->slices * SLICE + from / LANES;
    if (p->out - from >= LANES) transform_output(products, r->step_out, to, LANES);
    else transform_output(products, r->step_out, to, p->out - from);
  }
}

void convolve(const DTYPE *x, const DTYPE *weights, const Shape *p, DTYPE *y) {
  const Room room = new_room(p), *r = &room;
  transform_weights(weights, p, r);
  const int64_t all = p->images * ((p->height + 1) / 2) * ((p->width + 1) / 2);
  for (int64_t first = 0; first < all; first += TILES) {
    const int64_t tiles = all - first < TILES ? all - first : TILES;
    for (int64_t k = 0; k < tiles; k++) fetch(x, p, r, tile_at(p, first + k), k);
    for (int64_t point = 0; point < POINTS; point++)
      for (int64_t slice = 0; slice < r->slices; slice++)
        if (r->out - slice * SLICE == 1) multiply(p, r, point, slice, 1);
        else multiply(p, r, point, slice, SLICE);
    for (int64_t k = 0; k < tiles; k++) deliver(y, p, r, tile_at(p, first + k), k);
  }
  free_room(r);
}
