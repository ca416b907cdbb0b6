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

#define FIELD(name) vd name;
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

// How far a moving average goes towards a value. As in torch.lerp, steps of a half and more are counted back from the value.
typedef struct {
  vf by;
  vi far;
} Mix;

INLINE Mix mix(vd rate) {
  vf r = narrow(rate);
  vi far = r >= 0.5f;
  return (Mix){choose(far, r - 1.0f, r), far};
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
  vi early;           // RAdam: the lanes whose mean square cannot be trusted yet
  // What makes the next
  Power beta1, beta2, warm; // beta1^t, beta2^t, and NAdam's 0.96^(momentum_decay t)
  vd now, reached;    // NAdam: mu_{t+1}, and the product of mu_1 to mu_t
} Pace;

// NAdam's mu_{t+1}, after mu_t
INLINE vd nadam_ahead(const Numbers *h, int64_t t, Pace *s) { return h->beta1 * (1.0 - 0.5 * power_next(&s->warm, t + 1)); }

// The product of mu_1 to mu_t, after that to mu_{t-1}. Below 2^-64 it is lost beside 1, and 0 stays 0.
INLINE vd nadam_reached(vd reached, vd now) {
  reached *= now;
  return choose_d(reached < 0x1p-64, splat_d(0.0), reached);
}

static void nadam_begin(const Numbers *h, int64_t t, Pace *s) {
  vd warming = real_power(splat_d(0.96), h->momentum_decay);
  s->reached = splat_d(1.0);
  power_begin(&s->warm, warming, 0);
  for (int64_t i = 1; i <= t && any_d(s->reached > 0.0); i++) s->reached = nadam_reached(s->reached, nadam_ahead(h, i - 1, s));
  power_begin(&s->warm, warming, t);
  s->now = nadam_ahead(h, t, s);
}

// With which share theta enters ASGD's average after step t: 1 before t0
INLINE vd asgd_share(const Numbers *h, int64_t t) {
  vd age = (double)(t - 1) - h->t0;
  return 1.0 / choose_d(age > 1.0, age, splat_d(1.0));
}

// Before step t + 1, of a new run (t = 0) or of one that goes on
static void optimizer_begin(int kind, int flags, const Numbers *h, int64_t t, Pace *s) {
  int coupled = kind != optimizer_Lion && !(flags & with_decoupled_weight_decay);
  vd square = kind == optimizer_RMSprop ? h->alpha : kind == optimizer_Adadelta ? h->rho : h->beta2;
  s->decay = coupled ? narrow(h->weight_decay) : splat(0.0f);
  s->decays = s->decay != 0.0f;
  s->decaying = any(s->decays);
  s->momentum = narrow(h->momentum);
  s->kept = narrow(square);
  s->added = narrow(1.0 - square);
  s->first = mix(1.0 - h->beta1);
  s->second = mix(1.0 - square);
  s->shrink = splat(1.0f);
  s->eps = narrow(h->eps);
  power_begin(&s->beta1, h->beta1, t);
  power_begin(&s->beta2, h->beta2, t);
  if (kind == optimizer_NAdam) nadam_begin(h, t, s);
}

static void nadam_prepare(const Numbers *h, int64_t t, vd lr, vd correction, Pace *s) {
  vd now = s->now, ahead = nadam_ahead(h, t, s), rate = -correction * lr;
  vd reached = nadam_reached(s->reached, now);
  s->rate = narrow(rate * (1.0 - now) / (1.0 - reached));
  s->ahead = narrow(rate * ahead / (1.0 - reached * ahead));
  s->now = ahead;
  s->reached = reached;
}

static void radam_prepare(const Numbers *h, int64_t t, vd lr, vd power1, vd power2, Pace *s) {
  vd longest = 2.0 / (1.0 - h->beta2) - 1.0;
  vd length = longest - (2.0 * (double)t) * power2 / (1.0 - power2);
  vd rectified = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
  vl early = length <= 5.0;
  vd trust = choose_d(early, splat_d(1.0), root_d(rectified) * root_d(1.0 - power2));
  s->rate = narrow(lr / (power1 - 1.0) * trust);
  s->early = __builtin_convertvector(early, vi);
}

// The numbers of step t, from 1; the schedule multiplies lr with `factor`. To be called for one step after the other.
static void optimizer_prepare(int kind, int flags, const Numbers *h, int64_t t, const vd *factor, Pace *s) {
  vd lr = h->lr * *factor, power1, power2, correction;
  switch (kind) {
  case optimizer_Adam:
  case optimizer_NAdam:
  case optimizer_RAdam:
    power1 = power_next(&s->beta1, t);
    power2 = power_next(&s->beta2, t);
    if (flags & with_decoupled_weight_decay) s->shrink = narrow(1.0 - h->weight_decay * lr);
    if (kind == optimizer_RAdam) return radam_prepare(h, t, lr, power1, power2, s);
    correction = root_d(1.0 - power2);
    s->eps = narrow(h->eps * correction);
    if (kind == optimizer_NAdam) return nadam_prepare(h, t, lr, correction, s);
    s->rate = narrow(lr * (correction / (power1 - 1.0)));
    return;
  case optimizer_Adamax:
    s->rate = narrow(lr / (power_next(&s->beta1, t) - 1.0));
    return;
  case optimizer_ASGD: {
    vd eta = lr / real_power(1.0 + h->lambd * lr * (double)(t - 1), h->alpha);
    s->second = mix(asgd_share(h, t - 1));
    s->shrink = narrow(1.0 - h->lambd * eta);
    s->rate = narrow(-eta);
    return;
  }
  case optimizer_Lion:
    s->shrink = narrow(1.0 - h->weight_decay * lr);
    break;
  case optimizer_Adagrad:
    s->rate = narrow(lr / (-1.0 - (double)(t - 1) * h->lr_decay));
    return;
  case optimizer_SGD:
    s->ahead = narrow(t == 1 ? splat_d(1.0) : 1.0 - h->dampening);
    break;
  }
  s->rate = narrow(-lr);
}

#endif
