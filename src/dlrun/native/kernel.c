// The kernel: one translation unit, so that everything small is inlined.
#include "vector.h"
#include "activations.h"
#include "losses.h"
#include "optimizers.h"
#include "penalties.h"
