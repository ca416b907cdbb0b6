// The values of elementwise activations in pairs (see vector.h), where there are such registers: pairs.c does them. Both return how
// many numbers they have done: all but the last of an odd count, or none.
#ifndef DLRUN_PAIRS_H
#define DLRUN_PAIRS_H

#include "vector.h"

#if WIDE
long dlrun_pairs_forward(int kind, vp number, const void *x, void *y, long count);
long dlrun_pairs_backward(int kind, vp number, const void *grad, const void *x, const void *y, void *dx, long count);
#elif V == 8
INLINE long dlrun_pairs_forward(int kind, vp number, const void *x, void *y, long count) { return 0; }
INLINE long dlrun_pairs_backward(int kind, vp number, const void *grad, const void *x, const void *y, void *dx, long count) {
  return 0;
}
#endif

#endif
