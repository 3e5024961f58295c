/* Number formats and vectors. Code is compiled once per format: DTYPE is what memory holds, REAL what is
 * computed with. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A vector is as wide as a register: gcc takes wider ones through memory. */
#if defined(__AVX512F__)
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif

#if defined(BFLOAT16)
typedef uint16_t DTYPE, RAW;
typedef float REAL;
typedef int32_t BITS;
#elif defined(FLOAT64)
typedef double DTYPE, REAL;
typedef int64_t BITS;
typedef uint64_t RAW;
#else
typedef float DTYPE, REAL;
typedef int32_t BITS;
typedef uint32_t RAW;
#endif

enum { LANES = BYTES / sizeof(REAL) };
typedef REAL Vector __attribute__((vector_size(BYTES)));
typedef BITS Mask __attribute__((vector_size(BYTES))); /* all bits of a lane, or none */
typedef DTYPE Memory __attribute__((vector_size(LANES * sizeof(DTYPE))));

#if defined(BFLOAT16)
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
static inline Vector widen(Memory x) {
  Mask bits;
  for (int64_t l = 0; l < LANES; l++) bits[l] = (BITS)((uint32_t)x[l] << 16); /* two instructions */
  return (Vector)bits;
}
static inline Memory narrow(Vector value) {
  typedef uint32_t Unsigned __attribute__((vector_size(BYTES)));
  const Unsigned bits = (Unsigned)value;
  return __builtin_convertvector((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, Memory);
}
#else
#define load(x) (x)
#define store(x) (x)
#define widen(x) (x)
#define narrow(x) (x)
#endif

#define INLINE static inline __attribute__((always_inline))

/* The first n lanes; the others are zero. */
INLINE Vector read(const DTYPE *x, int64_t n) {
  Memory memory = {0};
  memcpy(&memory, x, n * sizeof(DTYPE));
  return widen(memory);
}
INLINE void write(DTYPE *x, Vector value, int64_t n) {
  const Memory memory = narrow(value);
  memcpy(x, &memory, n * sizeof(DTYPE));
}

/* As it will be read when it was written. */
INLINE Vector rounded(Vector value) { return widen(narrow(value)); }
