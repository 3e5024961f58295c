/* Sums of x and of x^2 per channel, around a number near them, added up while x is written. */

#pragma once

#include "vectors.h"

/* Rows of what is found, [MOMENTS, C]. */
enum { AROUND, SUM, SQUARE, MOMENTS };

/* Of some channels of one image, whose sums single precision can hold. */
typedef struct {
  Vector around, sum, square;
} Moment;

INLINE void add(Moment *moment, Vector value) {
  const Vector apart = value - moment->around;
  moment->sum += apart;
  moment->square += apart * apart;
}

/* Add what was summed to the moments of n channels, of c, and clear it. */
INLINE void gather_moment(double *moments, Moment *moment, int64_t c, int64_t n) {
  for (int64_t l = 0; l < n; l++) {
    moments[AROUND * c + l] = moment->around[l];
    moments[SUM * c + l] += moment->sum[l];
    moments[SQUARE * c + l] += moment->square[l];
  }
  moment->sum = moment->square = (Vector){0};
}
