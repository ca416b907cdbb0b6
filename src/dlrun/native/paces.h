// Optimizers: their kinds, their hyperparameters, and the numbers of each step.
//
// A pace is a function of the hyperparameters, the step t and the schedule's factor alone. So a run that is begun again in the
// middle goes on with the same bits.
#ifndef DLRUN_PACES_H
#define DLRUN_PACES_H

#include "powers.h"

// The hyperparameters of all kinds, in the order in which they are handed over. What a kind does not have is 0.
#define OPTIMIZER_NUMBERS(X)                                                                                                     \
  X(lr) X(beta1) X(beta2) X(eps) X(weight_decay) X(momentum) X(dampening) X(alpha) X(lambd) X(t0) X(rho) X(lr_decay)             \
  X(momentum_decay) X(initial_accumulator_value)

// What changes the formula. Momentum does: without it there is no buffer.
#define OPTIMIZER_FLAGS(X) X(momentum) X(nesterov) X(amsgrad) X(centered) X(decoupled_weight_decay)

// Each kind with the number of its slots, matrices [P], and the flags that add one each. AdamW is Adam with decoupled decay.
#define OPTIMIZERS(X)                                                                                                            \
  X(SGD, 0, with_momentum) X(ASGD, 1, 0) X(Adam, 2, with_amsgrad) X(NAdam, 2, 0) X(RAdam, 2, 0) X(Adamax, 2, 0)                  \
  X(RMSprop, 1, with_momentum | with_centered) X(Adagrad, 1, 0) X(Adadelta, 2, 0) X(Lion, 1, 0)

#define FIELD(name) hd name[2];
#define PLACE(name) flag_##name,
#define FLAG(name) with_##name = 1 << flag_##name,
#define KIND(name, slots, flags) optimizer_##name,
#define SLOTS(name, slots, flags) {slots, flags},
typedef struct {
  OPTIMIZER_NUMBERS(FIELD)
} Numbers;
enum { OPTIMIZER_FLAGS(PLACE) };
enum { OPTIMIZER_FLAGS(FLAG) };
enum { OPTIMIZERS(KIND) };
static const int OPTIMIZER_SLOTS[][2] = {OPTIMIZERS(SLOTS)};
#undef FIELD
#undef PLACE
#undef FLAG
#undef KIND
#undef SLOTS

static int optimizer_slots(int kind, int flags) {
  return OPTIMIZER_SLOTS[kind][0] + __builtin_popcount(flags & OPTIMIZER_SLOTS[kind][1]);
}

// `count` vectors of doubles in which the numbers of `lanes` lanes from `first` on stand over and over
INLINE void repeat(const double *from, double *to, long count, int64_t first, int64_t lanes) {
  for (long i = 0; i < count; i++)
    for (int l = 0; l < V; l++) to[i * V + l] = from[i * V + first + l % lanes];
}

// How far a moving average goes towards a value. As in torch.lerp, steps of a half and more are counted back from the value.
typedef struct {
  vf by;
  vi far;
} Mix;

INLINE Mix mix(vf rate) {
  vi far = rate >= 0.5f;
  return (Mix){choose(far, rate - 1.0f, rate), far};
}

INLINE vf mixed(vf mean, vf value, Mix m) { return mad(m.by, value - mean, choose(m.far, value, mean)); }

typedef struct {
  // The same in all steps
  vf decay;           // weight decay that enters the gradient,
  vi decays;          // the lanes that have it,
  int decaying;       // and whether there is one
  vf momentum;        // of SGD and RMSprop
  vf kept, added;     // v = kept v + added g^2
  Mix first, second;  // averages of the gradient with beta1 and beta2; RMSprop's second with alpha, ASGD's second of theta
  // Of one step
  vf shrink;          // the factor of decoupled weight decay
  vf rate;            // what the update is multiplied with, below 0
  vf eps;
  vf ahead;           // SGD: how much of the gradient enters the buffer. NAdam: how much of the average enters the update
  vf early;           // RAdam: 1 for the lanes whose mean square cannot be trusted yet
  // What makes the next: beta1^t, beta2^t, NAdam's 0.96^(momentum_decay t), mu_{t+1}, and the product of mu_1 to mu_t
  Power beta1[2], beta2[2], warm[2];
  hd now[2], reached[2];
} Pace;

// A number of a step, in double for half k of the lanes, rounded
INLINE void put(vf *number, int k, hd value) { ((hf *)number)[k] = narrow_h(value); }

// NAdam's mu_{t+1}, after mu_t
INLINE hd nadam_ahead(const Numbers *h, int k, int64_t t, Pace *s) {
  power_next(&s->warm[k], t + 1);
  return h->beta1[k] * (1.0 - 0.5 * s->warm[k].now);
}

// The product of mu_1 to mu_t, after that to mu_{t-1}. Below 2^-64 it is lost beside 1, and 0 stays 0.
INLINE hd nadam_reached(hd reached, hd now) {
  reached *= now;
  return choose_h(reached < 0x1p-64, splat_h(0.0), reached);
}

static void nadam_begin(const Numbers *h, int k, int64_t t, Pace *s) {
  hd warming = real_power(splat_h(0.96), h->momentum_decay[k]);
  int alive = 1;
  s->reached[k] = splat_h(1.0);
  power_begin(&s->warm[k], warming, 0);
  for (int64_t i = 1; i <= t && alive; i++) {
    s->reached[k] = nadam_reached(s->reached[k], nadam_ahead(h, k, i - 1, s));
    alive = 0;
    for (int l = 0; l < V / 2; l++) alive |= s->reached[k][l] > 0.0;
  }
  power_begin(&s->warm[k], warming, t);
  s->now[k] = nadam_ahead(h, k, t, s);
}

// With which share theta enters ASGD's average after step t: 1 before t0
INLINE vf asgd_share(const Numbers *h, int64_t t) {
  vf share = {};
  for (int k = 0; k < 2; k++) {
    hd age = (double)(t - 1) - h->t0[k];
    put(&share, k, 1.0 / choose_h(age > 1.0, age, splat_h(1.0)));
  }
  return share;
}

// Before step t + 1, of a new run (t = 0) or of one that goes on
static void optimizer_begin(int kind, int flags, const Numbers *h, int64_t t, Pace *s) {
  int coupled = kind != optimizer_Lion && !(flags & with_decoupled_weight_decay);
  vf first, second;
  for (int k = 0; k < 2; k++) {
    hd square = kind == optimizer_RMSprop ? h->alpha[k] : kind == optimizer_Adadelta ? h->rho[k] : h->beta2[k];
    put(&s->decay, k, coupled ? h->weight_decay[k] : splat_h(0.0));
    put(&s->momentum, k, h->momentum[k]);
    put(&s->kept, k, square);
    put(&s->added, k, 1.0 - square);
    put(&s->eps, k, h->eps[k]);
    put(&first, k, 1.0 - h->beta1[k]);
    put(&second, k, 1.0 - square);
    power_begin(&s->beta1[k], h->beta1[k], t);
    power_begin(&s->beta2[k], h->beta2[k], t);
    if (kind == optimizer_NAdam) nadam_begin(h, k, t, s);
  }
  s->decays = s->decay != 0.0f;
  s->decaying = any(s->decays);
  s->first = mix(first);
  s->second = mix(second);
  s->shrink = splat(1.0f);
}

// The numbers of step t for half k of the lanes, whose learning rate is lr

INLINE void adam_prepare(int flags, const Numbers *h, int k, int64_t t, hd lr, Pace *s) {
  power_next(&s->beta1[k], t);
  power_next(&s->beta2[k], t);
  hd correction = root_h(1.0 - s->beta2[k].now);
  if (flags & with_decoupled_weight_decay) put(&s->shrink, k, 1.0 - h->weight_decay[k] * lr);
  put(&s->eps, k, h->eps[k] * correction);
  put(&s->rate, k, lr * (correction / (s->beta1[k].now - 1.0)));
}

INLINE void nadam_prepare(int flags, const Numbers *h, int k, int64_t t, hd lr, Pace *s) {
  adam_prepare(flags, h, k, t, lr, s);
  hd rate = -root_h(1.0 - s->beta2[k].now) * lr, now = s->now[k], ahead = nadam_ahead(h, k, t, s);
  hd reached = nadam_reached(s->reached[k], now);
  put(&s->rate, k, rate * (1.0 - now) / (1.0 - reached));
  put(&s->ahead, k, rate * ahead / (1.0 - reached * ahead));
  s->now[k] = ahead;
  s->reached[k] = reached;
}

INLINE void radam_prepare(int flags, const Numbers *h, int k, int64_t t, hd lr, Pace *s) {
  adam_prepare(flags, h, k, t, lr, s);
  hd seen = s->beta2[k].now, longest = 2.0 / (1.0 - h->beta2[k]) - 1.0;
  hd length = longest - (2.0 * (double)t) * seen / (1.0 - seen);
  hd rectified = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
  hd trust = choose_h(length <= 5.0, splat_h(1.0), root_h(rectified) * root_h(1.0 - seen));
  put(&s->eps, k, h->eps[k]);
  put(&s->rate, k, lr / (s->beta1[k].now - 1.0) * trust);
  put(&s->early, k, choose_h(length <= 5.0, splat_h(1.0), splat_h(0.0)));
}

INLINE void asgd_prepare(const Numbers *h, int k, int64_t t, hd lr, Pace *s) {
  hd eta = lr / real_power(1.0 + h->lambd[k] * lr * (double)(t - 1), h->alpha[k]);
  put(&s->shrink, k, 1.0 - h->lambd[k] * eta);
  put(&s->rate, k, -eta);
}

INLINE void half_prepare(int kind, int flags, const Numbers *h, int k, int64_t t, const vd *factor, Pace *s) {
  hd lr = h->lr[k] * ((const hd *)factor)[k];
  switch (kind) {
  case optimizer_Adam: return adam_prepare(flags, h, k, t, lr, s);
  case optimizer_NAdam: return nadam_prepare(flags, h, k, t, lr, s);
  case optimizer_RAdam: return radam_prepare(flags, h, k, t, lr, s);
  case optimizer_ASGD: return asgd_prepare(h, k, t, lr, s);
  case optimizer_Adamax: power_next(&s->beta1[k], t); return put(&s->rate, k, lr / (s->beta1[k].now - 1.0));
  case optimizer_Adagrad: return put(&s->rate, k, lr / (-1.0 - (double)(t - 1) * h->lr_decay[k]));
  case optimizer_Lion: put(&s->shrink, k, 1.0 - h->weight_decay[k] * lr); break;
  case optimizer_SGD: put(&s->ahead, k, t == 1 ? splat_h(1.0) : 1.0 - h->dampening[k]); break;
  }
  put(&s->rate, k, -lr);
}

// The numbers of step t, from 1; the schedule multiplies lr with `factor`. To be called for one step after the other.
static void optimizer_prepare(int kind, int flags, const Numbers *h, int64_t t, const vd *factor, Pace *s) {
  if (kind == optimizer_ASGD) s->second = mix(asgd_share(h, t - 1));
#define BOTH(name, slots, with)                                                                                                  \
  case optimizer_##name:                                                                                                         \
    for (int k = 0; k < 2; k++) half_prepare(optimizer_##name, flags, h, k, t, factor, s);                                       \
    return;
  switch (kind) { OPTIMIZERS(BOTH) }
#undef BOTH
}

#endif
