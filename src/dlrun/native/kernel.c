// The kernel: one translation unit, so that everything small is inlined.
#include "vector.h"
