// The optimizers of a block. One has all V lanes; several have `lanes` lanes each, 1, 2 or 4, one behind the other.
//
// With several a pass over the parameters would compute all lanes for a few of them, and roots and divisions are what it waits for.
// So parameters are dealt out: R = V / lanes vectors become one vector for each optimizer, with R parameters of its lanes.
#ifndef DLRUN_DEAL_H
#define DLRUN_DEAL_H

#include "optimizers.h"

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

// Exchanges the odd blocks of `size` lanes of a with the even ones of b
INLINE void exchange(vf *a, vf *b, const long size) {
  const vf x = *a, y = *b;
  if (size == 4)
    *a = SHUFFLE(x, y, 0, 1, 2, 3, 8, 9, 10, 11), *b = SHUFFLE(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
  else if (size == 2)
    *a = SHUFFLE(x, y, 0, 1, 8, 9, 4, 5, 12, 13), *b = SHUFFLE(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
  else
    *a = SHUFFLE(x, y, 0, 8, 2, 10, 4, 12, 6, 14), *b = SHUFFLE(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
}

// R vectors of R elements of `lanes` lanes, transposed; so it is its own inverse
INLINE void turn_over(vf *v, const long lanes) {
  const long R = V / lanes;
  for (long half = R / 2; half > 0; half /= 2)
    for (long i = 0; i < R; i++)
      if (!(i & half)) exchange(&v[i], &v[i + half], half * lanes);
}

// `count` parameters to the optimizers, whose arrays lie `apart` vectors from one another
INLINE void deal(const vf *from, vf *to, long count, long apart, const long lanes) {
  const long R = V / lanes;
  for (long p = 0; p < count; p += R) {
    vf v[V] = {};
    for (long i = 0; i < R; i++)
      if (p + i < count) v[i] = from[p + i];
    turn_over(v, lanes);
    for (long i = 0; i < R; i++) to[i * apart + p / R] = v[i];
  }
}

INLINE void collect(const vf *from, vf *to, long count, long apart, const long lanes) {
  const long R = V / lanes;
  for (long p = 0; p < count; p += R) {
    vf v[V];
    for (long i = 0; i < R; i++) v[i] = from[i * apart + p / R];
    turn_over(v, lanes);
    for (long i = 0; i < R; i++)
      if (p + i < count) to[p + i] = v[i];
  }
}

#define DEALT 64 // parameters at a time
#define MOST_SLOTS 3

typedef struct {
  int kind, flags;
  Numbers numbers; // of its lanes, over and over
  Pace pace;
} Optimizer;

// One pass of `count` optimizers, each of its own lanes
INLINE void dealt_step(const Optimizer *each, long count, vf *theta, const vf *grad, vf *slots, long P, const long lanes) {
  const long R = V / lanes;
  vf weights[DEALT], slopes[DEALT], kept[MOST_SLOTS * DEALT];
  int arrays = 0;
  for (long i = 0; i < count; i++) {
    const int own = optimizer_slots(each[i].kind, each[i].flags);
    arrays = own > arrays ? own : arrays;
  }
  for (long first = 0; first < P; first += DEALT) {
    const long some = P - first < DEALT ? P - first : DEALT, vectors = (some + R - 1) / R;
    deal(theta + first, weights, some, vectors, lanes);
    deal(grad + first, slopes, some, vectors, lanes);
    for (int k = 0; k < arrays; k++) deal(slots + k * P + first, kept + k * vectors, some, MOST_SLOTS * vectors, lanes);
    for (long i = 0; i < count; i++)
      optimizer_step(each[i].kind, each[i].flags, &each[i].pace, weights + i * vectors, slopes + i * vectors,
                     kept + i * MOST_SLOTS * vectors, vectors);
    collect(weights, theta + first, some, vectors, lanes);
    for (int k = 0; k < arrays; k++) collect(kept + k * vectors, slots + k * P + first, some, MOST_SLOTS * vectors, lanes);
  }
}

static void optimizers_begin(Optimizer *each, long count, const double *numbers, int64_t t, long lanes) {
  for (long i = 0; i < count; i++) {
    repeat(numbers, (double *)&each[i].numbers, sizeof(Numbers) / sizeof(vd), i * lanes, lanes);
    optimizer_begin(each[i].kind, each[i].flags, &each[i].numbers, t, &each[i].pace);
  }
}

// Step t of `count` optimizers
static void optimizers_step(Optimizer *each, long count, int64_t t, vd factor, vf *theta, const vf *grad, vf *slots, long P,
                            long lanes) {
  for (long i = 0; i < count; i++) {
    vd own;
    repeat((const double *)&factor, (double *)&own, 1, i * lanes, lanes);
    optimizer_prepare(each[i].kind, each[i].flags, &each[i].numbers, t, &own, &each[i].pace);
  }
  switch (lanes) {
  case 1: return dealt_step(each, count, theta, grad, slots, P, 1);
  case 2: return dealt_step(each, count, theta, grad, slots, P, 2);
  case 4: return dealt_step(each, count, theta, grad, slots, P, 4);
  default: return optimizer_step(each->kind, each->flags, &each->pace, theta, grad, slots, P);
  }
}

// Steps t + 1 to t + steps of `count` optimizers of `lanes` lanes each, their kinds and flags in turn, for given gradients [steps][P]
// and factors [steps], and what is evaluated behind the last
void dlrun_optimize(const int *kinds, int64_t count, int64_t lanes, const vd *numbers, int64_t t, int64_t steps, const vd *factors,
                    vf *theta, const vf *grads, vf *slots, vf *evaluated, long P) {
  const Numbers *h = (const Numbers *)numbers;
  Optimizer each[V] = {};
  for (long i = 0; i < count; i++) {
    each[i].kind = kinds[2 * i], each[i].flags = kinds[2 * i + 1];
    if (t == 0) optimizer_start(lanes_from(i * lanes, lanes), each[i].kind, each[i].flags, h, theta, slots, P);
  }
  optimizers_begin(each, count, (const double *)numbers, t, lanes);
  for (int64_t i = 0; i < steps; i++)
    optimizers_step(each, count, t + i + 1, factors[i], theta, grads + i * P, slots, P, lanes);
  memcpy(evaluated, theta, (size_t)P * sizeof *theta);
  for (long i = 0; i < count; i++)
    optimizer_evaluated(lanes_from(i * lanes, lanes), each[i].kind, h, t + steps, theta, slots, evaluated, P);
}

#endif
