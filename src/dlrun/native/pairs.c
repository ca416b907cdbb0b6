// Elementwise activations in pairs (see vector.h): two neighbours of eight runs are sixteen runs to them, so V is 16 here. Each
// number goes through the operations that it goes through alone.
#if defined(__AVX512F__) && !defined(NARROW)

#define V 16
#include "activations.h"

long dlrun_pairs_forward(int kind, vf number, const vf *x, vf *y, long count) {
  values_forward(kind, number, x, y, 0, count / 2);
  return count / 2 * 2;
}

long dlrun_pairs_backward(int kind, vf number, const vf *grad, const vf *x, const vf *y, vf *dx, long count) {
  values_backward(kind, number, grad, x, y, dx, 0, count / 2);
  return count / 2 * 2;
}

#endif
