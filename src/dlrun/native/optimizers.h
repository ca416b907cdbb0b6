// The optimizers of components/optimizers, each lane with hyperparameters and a schedule of its own.
//
//     optimizer_start(lanes, kind, flags, numbers, theta, slots, P)          the optimizer_slots(kind, flags) matrices [P] before step 1
//     optimizer_begin(kind, flags, numbers, t, &pace)                 before step t + 1
//     in every step t, counted from 1:
//       optimizer_prepare(kind, flags, numbers, t, &factor, &pace)    its numbers, computed in double and rounded once
//       optimizer_step(kind, flags, &pace, theta, grad, slots, P)     one pass over the parameters
//     optimizer_evaluated(lanes, kind, numbers, t, theta, slots, out, P)     the parameters that are evaluated after step t
//
// deal.h does that for all optimizers of a block.
// Formulas, guards and the order of the slots are those of the classes in Python.
#ifndef DLRUN_OPTIMIZERS_H
#define DLRUN_OPTIMIZERS_H

#include "paces.h"

// The gradient with weight decay. A lane without it keeps its bits, down to the sign of a zero.
INLINE vf decayed(const Pace *s, vf grad, vf theta) { return choose(s->decays, mad(s->decay, theta, grad), grad); }

// A mean square. An infinite square leaves it infinite, where interpolation would make it NaN.
INLINE vf mixed_square(const Pace *s, vf square, vf value) { return mad(s->added * value, value, s->kept * square); }

static void sgd(int flags, const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict buffer, long P) {
  if (!(flags & with_momentum))
    for (long p = 0; p < P; p++) theta[p] = mad(s->rate, decayed(s, grad[p], theta[p]), theta[p]);
  else if (!(flags & with_nesterov))
    for (long p = 0; p < P; p++) {
      buffer[p] = mad(s->ahead, decayed(s, grad[p], theta[p]), s->momentum * buffer[p]);
      theta[p] = mad(s->rate, buffer[p], theta[p]);
    }
  else
    for (long p = 0; p < P; p++) {
      vf g = decayed(s, grad[p], theta[p]);
      buffer[p] = mad(s->ahead, g, s->momentum * buffer[p]);
      theta[p] = mad(s->rate, mad(s->momentum, buffer[p], g), theta[p]);
    }
}

// The theta of the step before enters the average now, with what regularizers did to it behind that step
static void asgd(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict average, long P) {
  for (long p = 0; p < P; p++) {
    vf w = theta[p];
    average[p] = mixed(average[p], w, s->second);
    theta[p] = mad(s->rate, decayed(s, grad[p], w), s->shrink * w);
  }
}

static void lion(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict mean, long P) {
  for (long p = 0; p < P; p++) {
    vf g = grad[p], m = mean[p];
    theta[p] = mad(s->rate, sign(mixed(m, g, s->first)), s->shrink * theta[p]);
    mean[p] = mixed(m, g, s->second);
  }
}

// Adam's pass, made once for each way of decaying weights and of using the mean square: one root and one division are all that it
// then waits for
INLINE void adam_pass(int amsgrad, int coupled, int decoupled, const Pace *restrict s, vf *restrict theta,
                      const vf *restrict grad, vf *restrict slots, long P) {
  vf *restrict mean = slots, *restrict square = slots + P, *restrict most = slots + 2 * P;
  for (long p = 0; p < P; p++) {
    vf w = theta[p], g = coupled ? decayed(s, grad[p], w) : grad[p];
    vf m = mean[p] = mixed(mean[p], g, s->first);
    vf v = square[p] = mixed_square(s, square[p], g);
    if (amsgrad) v = most[p] = larger(most[p], v);
    theta[p] = mad(s->rate, m / (root(v) + s->eps), decoupled ? s->shrink * w : w);
  }
}

static void adam(int flags, const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict slots, long P) {
  int amsgrad = flags & with_amsgrad;
  if (flags & with_decoupled_weight_decay)
    amsgrad ? adam_pass(1, 0, 1, s, theta, grad, slots, P) : adam_pass(0, 0, 1, s, theta, grad, slots, P);
  else if (s->decaying)
    amsgrad ? adam_pass(1, 1, 0, s, theta, grad, slots, P) : adam_pass(0, 1, 0, s, theta, grad, slots, P);
  else
    amsgrad ? adam_pass(1, 0, 0, s, theta, grad, slots, P) : adam_pass(0, 0, 0, s, theta, grad, slots, P);
}

static void nadam(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict mean, vf *restrict square,
                  long P) {
  for (long p = 0; p < P; p++) {
    vf w = s->shrink * theta[p], g = decayed(s, grad[p], w);
    vf m = mean[p] = mixed(mean[p], g, s->first);
    vf v = square[p] = mixed_square(s, square[p], g);
    theta[p] = w + mad(s->ahead, m, s->rate * g) / (root(v) + s->eps);
  }
}

static void radam(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict mean, vf *restrict square,
                  long P) {
  const vi early = s->early > 0.0f;
  for (long p = 0; p < P; p++) {
    vf w = s->shrink * theta[p], g = decayed(s, grad[p], w);
    vf m = mean[p] = mixed(mean[p], g, s->first);
    vf v = square[p] = mixed_square(s, square[p], g);
    theta[p] = mad(s->rate, m / choose(early, splat(1.0f), root(v) + s->eps), w);
  }
}

static void adamax(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict mean, vf *restrict size,
                   long P) {
  for (long p = 0; p < P; p++) {
    vf w = theta[p], g = decayed(s, grad[p], w);
    vf m = mean[p] = mixed(mean[p], g, s->first);
    vf before = s->kept * size[p], now = magnitude(g) + s->eps;
    vf u = size[p] = choose((before > now) | (before != before), before, now); // NaN where one of them is
    theta[p] = mad(s->rate, m / u, w);
  }
}

static void rmsprop(int flags, const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict slots, long P) {
  int moves = flags & with_momentum;
  vf *restrict square = slots, *restrict buffer = slots + P, *restrict mean = slots + (moves ? 2 : 1) * P;
  for (long p = 0; p < P; p++) {
    vf w = theta[p], g = decayed(s, grad[p], w);
    vf v = square[p] = mixed_square(s, square[p], g);
    if (flags & with_centered) {
      vf a = mean[p] = mixed(mean[p], g, s->second);
      v = mad(-a, a, v);
    }
    vf update = g / (root(v) + s->eps);
    if (moves) update = buffer[p] = mad(s->momentum, buffer[p], update);
    theta[p] = mad(s->rate, update, w);
  }
}

static void adagrad(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict sum, long P) {
  for (long p = 0; p < P; p++) {
    vf w = theta[p], g = decayed(s, grad[p], w);
    sum[p] = mad(g, g, sum[p]);
    theta[p] = mad(s->rate, g / (root(sum[p]) + s->eps), w);
  }
}

static void adadelta(const Pace *restrict s, vf *restrict theta, const vf *restrict grad, vf *restrict square,
                     vf *restrict moved, long P) {
  for (long p = 0; p < P; p++) {
    vf w = theta[p], g = decayed(s, grad[p], w);
    vf v = square[p] = mixed_square(s, square[p], g);
    vf update = g / root(v + s->eps) * root(moved[p] + s->eps);
    moved[p] = mixed_square(s, moved[p], update);
    theta[p] = mad(s->rate, update, w);
  }
}

static void optimizer_step(int kind, int flags, const Pace *s, vf *theta, const vf *grad, vf *slots, long P) {
  switch (kind) {
  case optimizer_SGD: return sgd(flags, s, theta, grad, slots, P);
  case optimizer_ASGD: return asgd(s, theta, grad, slots, P);
  case optimizer_Adam: return adam(flags, s, theta, grad, slots, P);
  case optimizer_NAdam: return nadam(s, theta, grad, slots, slots + P, P);
  case optimizer_RAdam: return radam(s, theta, grad, slots, slots + P, P);
  case optimizer_Adamax: return adamax(s, theta, grad, slots, slots + P, P);
  case optimizer_RMSprop: return rmsprop(flags, s, theta, grad, slots, P);
  case optimizer_Adagrad: return adagrad(s, theta, grad, slots, P);
  case optimizer_Adadelta: return adadelta(s, theta, grad, slots, slots + P, P);
  case optimizer_Lion: return lion(s, theta, grad, slots, P);
  }
}

// The slots of the lanes in `mine` before the first step: zeros, but for ASGD's average, theta, and for Adagrad's sum
static void optimizer_start(vi mine, int kind, int flags, const Numbers *h, const vf *theta, vf *slots, long P) {
  vf first = splat(0.0f);
  for (int k = 0; k < 2 && kind == optimizer_Adagrad; k++) put(&first, k, h->initial_accumulator_value[k]);
  for (long p = 0; p < optimizer_slots(kind, flags) * P; p++)
    slots[p] = choose(mine, kind == optimizer_ASGD ? theta[p] : first, slots[p]);
}

// What is evaluated after step t: `out`, which is theta, but with ASGD its average in the lanes in `mine`
static void optimizer_evaluated(vi mine, int kind, const Numbers *h, int64_t t, const vf *theta, const vf *slots, vf *out, long P) {
  if (kind != optimizer_ASGD) return;
  const Mix share = mix(asgd_share(h, t));
  for (long p = 0; p < P; p++) out[p] = choose(mine, mixed(slots[p], theta[p], share), out[p]);
}

#define NAME(name, ...) #name " "
const char *dlrun_optimizers(void) { return OPTIMIZERS(NAME); }
const char *dlrun_optimizer_flags(void) { return OPTIMIZER_FLAGS(NAME); }
const char *dlrun_optimizer_numbers(void) { return OPTIMIZER_NUMBERS(NAME); }
#undef NAME

int dlrun_optimizer_slots(int kind, int flags) { return optimizer_slots(kind, flags); }

#endif
