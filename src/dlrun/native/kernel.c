// The kernel: whole epochs of blocks of runs, and their evaluation. One translation unit but for pairs.c, so that everything small is
// inlined.
//
// The runs of a block have components of the same kinds, except that their optimizers may differ; every number may be another one in
// each. A block goes through all steps that are asked for before the next one begins, so that its parameters stay in the cache.

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "vector.h"

#include "inside.h"

#define EXPORT __attribute__((visibility("default")))

// Numbers too small for a normal float count as 0 while the kernel works, as they do on the torch way
static unsigned long flush_small(void) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u);
  __asm__ volatile("" ::: "memory");
  return before;
#elif defined(__aarch64__)
  unsigned long before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" ::"r"(before | (1ul << 24)) : "memory");
  return before;
#else
  return 0;
#endif
}

static void restore_small(unsigned long before) {
  __asm__ volatile("" ::: "memory");
#if defined(__x86_64__)
  _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" ::"r"(before));
#endif
}

// Four numbers of each of eight runs, to where the runs are lanes
INLINE void transpose(const float *const *row, long k, vf *to) {
#if V == 8 && defined(X86)
  __m256 a[4];
  for (int l = 0; l < 4; l++)
    a[l] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(row[l] + k)), _mm_load_ps(row[l + 4] + k), 1);
  const __m256 first = _mm256_unpacklo_ps(a[0], a[1]), second = _mm256_unpacklo_ps(a[2], a[3]);
  const __m256 third = _mm256_unpackhi_ps(a[0], a[1]), fourth = _mm256_unpackhi_ps(a[2], a[3]);
  to[0] = (vf)_mm256_shuffle_ps(first, second, 0x44), to[1] = (vf)_mm256_shuffle_ps(first, second, 0xee);
  to[2] = (vf)_mm256_shuffle_ps(third, fourth, 0x44), to[3] = (vf)_mm256_shuffle_ps(third, fourth, 0xee);
#else
  for (int i = 0; i < 4; i++)
    for (int l = 0; l < V; l++) to[i][l] = row[l][k + i];
#endif
}

// The samples `row` [V], one of each run, to row i of a batch where the runs are lanes; numbers of classes are moved as they are
INLINE void take(const Plan *p, const float *const *row, Space *s, long i) {
  const long width = p->inputs * p->members, all = width + p->targets;
  vf *input = s->input[0] + i * width, *target = s->target + i * p->targets;
  long k = 0;
  for (; k + 4 <= width; k += 4) transpose(row, k, input + k);
  for (; k < all; k += 4) {
    vf four[4];
    transpose(row, k, four);
    for (long c = 0; c < 4 && k + c < all; c++) *(k + c < width ? input + k + c : target + k + c - width) = four[c];
  }
}

// Where the split of each run of a block begins
INLINE void begin_of(const Plan *p, long q, const float **split) {
  for (int l = 0; l < V; l++) split[l] = p->samples + p->splits[q * V + l] * p->rows * p->sample;
}

// Rows `first` to `first` + `rows` of an epoch's order
static void take_drawn(const Plan *p, const int32_t *drawn, const float *const *split, Space *s, long rows) {
  for (long i = 0; i < rows; i++) {
    const float *row[V];
    for (int l = 0; l < V; l++) row[l] = split[l] + 4 * (int64_t)drawn[i * V + l];
    take(p, row, s, i);
  }
}

#define LINE 16         // numbers in a line of the cache
#define NEAR (1 << 16) // numbers for which there is room in the second cache

// Calls rows into the cache during step `number`, since an epoch reads each row of a split once, and finds it far away: where the
// splits of a block fit into the cache, a part of those of the block that comes next, one row after the other; else the rows of
// the next step.
static void call_ahead(const Plan *p, const int32_t *drawn, const float *const *split, const float *const *next, long number) {
  const long first = number * p->batch, size = p->sample;
  const long last = first + p->batch < p->train ? first + p->batch : p->train;
  if (V * p->train * size <= NEAR) {
    for (int l = 0; l < V; l++)
      for (long k = first * size; k < last * size; k += LINE) __builtin_prefetch(next[l] + k, 0, 2);
    return;
  }
  for (long i = last; i < last + p->batch && i < p->train; i++)
    for (int l = 0; l < V; l++) {
      const float *row = split[l] + 4 * (int64_t)drawn[i * V + l];
      for (long k = 0; k < size; k += LINE) __builtin_prefetch(row + k);
    }
}

// Changes the batch of step `number`, which lies in the space; `keys` are those of the epoch. What the loss is given: the targets.
static const void *changed(const Plan *p, long q, Space *s, long rows, vw keys, long number) {
  if (!p->changes_count) return s->target;
  Batch batch = batch_of(p, s, rows);
  keys = derive_each(keys, (uint64_t)number);
  for (long i = 0; i < p->changes_count; i++)
    change(&p->changes[i], &batch, derive_each(keys, (uint64_t)i), p->numbers[q * p->numbers_each + p->changes[i].numbers]);
  return goals(&batch);
}

// What a block knows beside its state while it takes steps
typedef struct {
  Optimizer optimizers[V];
  Penalties penalties;
  vw masks, draws; // keys of this epoch's streams of dropout and of what changes batches
  const int32_t *drawn;
  const float *split[V], *next[V]; // where the splits of its runs begin, and those of the block that comes next
} Going;

// Step `t`, from 1, which is step `number` of its epoch, with `rows` rows
static void step(const Plan *p, long q, int64_t t, long number, long rows, vd factor, Going *going, Space *s) {
  const Block *block = &p->blocks[q];
  vf *theta = p->state + q * p->stride, *buffers = theta + p->parameters;
  const vf *numbers = p->numbers + q * p->numbers_each;
  take_drawn(p, going->drawn + number * p->batch * V, going->split, s, rows);
  call_ahead(p, going->drawn, going->split, going->next, number);
  const vw masks = derive_each(going->masks, (uint64_t)number);
  const void *target = changed(p, q, s, rows, going->draws, number);
  forward(p, q, theta, buffers, s, rows * p->members, 1, &masks);
  loss_gradient((int)block->loss, numbers + p->loss_numbers, s->input[p->depth], target, s->grad[0], rows, p->width, p->pixels);
  backward(p, q, theta, buffers, s, rows * p->members);
  penalties_before(&going->penalties, p->weights, p->weights_count, t, theta, s->theta, theta + p->average, s->sides, p->parameters);
  optimizers_step(going->optimizers, block->updates, t, factor, theta, s->theta, theta + p->slots, p->parameters, block->lanes);
  penalties_behind(&going->penalties, p->weights, p->weights_count, theta, s->sides);
}

// The orders of the rows in an epoch, for each run of the blocks from `first` to `last`. Runs of equal keys are drawn once where
// they are neighbours. 0, or -1 where there is no memory.
EXPORT int dlrun_orders(const Plan *p, int64_t first, int64_t last, int64_t epoch) {
  const int64_t n = p->train;
  const int32_t fours = (int32_t)(p->sample / 4);
  uint64_t *words = malloc((size_t)(2 * n) * sizeof *words);
  int32_t *ends = malloc((size_t)(buckets(n) + 1) * sizeof *ends);
  if (words && ends)
    for (int64_t r = first * V; r < last * V; r++) {
      if (r == first * V || p->orders[r] != p->orders[r - 1])
        permute(derive(p->orders[r], (uint64_t)epoch), n, words, words + n, ends);
      int32_t *drawn = p->drawn + r / V * n * V + r % V;
      for (int64_t i = 0; i < n; i++) drawn[i * V] = (int32_t)words[i] * fours;
    }
  const int failed = !(words && ends);
  free(words), free(ends);
  return -failed;
}

// Steps `from` to `to` of an epoch, of the blocks from `first` to `last`; `before` steps were taken before this epoch. `factors`
// [steps from `from` on][blocks] is what the schedules multiply learning rates with, NULL for 1. 0, or -1 where there is no memory.
EXPORT int dlrun_steps(const Plan *p, int64_t first, int64_t last, int64_t epoch, int64_t before, int64_t from, int64_t to,
                       const double *factors) {
  Space *space = room(p, p->batch < p->train ? p->batch : p->train);
  if (!space) return -1;
  const unsigned long floats = flush_small();
  for (int64_t q = first; q < last; q++) {
    Going going = {};
    vw keys[2];
    memcpy(&keys[0], p->masks + q * V, sizeof keys[0]), memcpy(&keys[1], p->draws + q * V, sizeof keys[1]);
    going.masks = derive_each(keys[0], (uint64_t)epoch), going.draws = derive_each(keys[1], (uint64_t)epoch);
    going.drawn = p->drawn + q * p->train * V;
    begin_of(p, q, going.split);
    begin_of(p, q + 1 < last ? q + 1 : first, going.next);
    const Block *block = &p->blocks[q];
    const vd *rates = p->rates + q * p->rates_each;
    penalties_begin((int)p->penalties, rates + sizeof(Numbers) / sizeof(vd), &going.penalties);
    for (int64_t i = 0; i < block->updates; i++) {
      const Update *own = &p->updates[block->update + i];
      going.optimizers[i].kind = (int)own->optimizer, going.optimizers[i].flags = (int)own->flags;
    }
    optimizers_begin(going.optimizers, block->updates, (const double *)rates, before + from, block->lanes);
    for (int64_t number = from; number < to; number++) {
      const int64_t left = p->train - number * p->batch;
      vd factor = splat_d(1.0);
      if (factors) memcpy(&factor, factors + ((number - from) * p->blocks_count + q) * V, sizeof factor);
      step(p, q, before + number + 1, number, left < p->batch ? left : p->batch, factor, &going, space);
    }
  }
  restore_small(floats);
  leave(space);
  return 0;
}

// The numbers of the optimizers of a block
static Numbers numbers_of(const Plan *p, long q) {
  Numbers h;
  memcpy(&h, p->rates + q * p->rates_each, sizeof h);
  return h;
}

// The state before the first step, but for theta and the buffers, which are there
EXPORT void dlrun_start(const Plan *p) {
  for (int64_t q = 0; q < p->blocks_count; q++) {
    const Block *block = &p->blocks[q];
    const Numbers h = numbers_of(p, q);
    vf *theta = p->state + q * p->stride;
    for (int64_t i = 0; i < block->updates; i++) {
      const Update *own = &p->updates[block->update + i];
      optimizer_start(lanes_from(i * block->lanes, block->lanes), (int)own->optimizer, (int)own->flags, &h, theta, theta + p->slots,
                      p->parameters);
    }
  }
}

// The parameters to evaluate after `t` steps: out [blocks][parameters]
EXPORT void dlrun_evaluated(const Plan *p, int64_t t, vf *out) {
  const unsigned long floats = flush_small();
  for (int64_t q = 0; q < p->blocks_count; q++) {
    const Block *block = &p->blocks[q];
    const Numbers h = numbers_of(p, q);
    const vf *theta = p->state + q * p->stride;
    vf *found = out + q * p->parameters;
    memcpy(found, theta, (size_t)p->parameters * sizeof *found);
    for (int64_t i = 0; i < block->updates; i++)
      optimizer_evaluated(lanes_from(i * block->lanes, block->lanes), (int)p->updates[block->update + i].optimizer, &h, t, theta,
                          theta + p->slots, found, p->parameters);
  }
  restore_small(floats);
}

#define CHUNK 16 // rows that are evaluated at once

// Rows to evaluate: places[start .. stop] of each run's split, or the places from `start` to `stop` themselves
typedef struct {
  const int64_t *places;
  int64_t start, stop;
} Rows;

// Those rows from number `from` on, to the space: `rows` of them
static void take_places(const Plan *p, long q, Rows r, int64_t from, long rows, Space *s) {
  const float *split[V], *row[V];
  begin_of(p, q, split);
  for (long i = 0; i < rows; i++) {
    const int64_t place = r.places ? r.places[from + i] : from + i;
    for (int l = 0; l < V; l++) row[l] = split[l] + place * p->sample;
    take(p, row, s, i);
  }
}

// The output of block q for the chunk that begins at row `from`, in the space: how many rows it has
static long evaluate(const Plan *p, long q, const vf *theta, Rows r, int64_t from, Space *space) {
  const long rows = r.stop - from < CHUNK ? r.stop - from : CHUNK;
  take_places(p, q, r, from, rows, space);
  forward(p, q, theta + q * p->parameters, p->state + q * p->stride + p->parameters, space, rows * p->members, 0, NULL);
  return rows;
}

// Where `count` numbers of the first `lanes` of eight runs go, of which each has `stride` numbers in all
INLINE void apart(const vf *from, float *to, long count, long stride, long lanes) {
  for (long i = 0; i < count; i++)
    for (long l = 0; l < lanes; l++) to[l * stride + i] = from[i][l];
}

// What every run makes of such rows with the parameters `theta` [blocks][parameters]: of the first `runs` lanes the outputs
// [runs][rows][outputs] and what goes into layer `layer` [runs][rows][inputs], of all the loss [blocks][V], for targets that are
// not softened. What is not wanted is NULL. 0, or -1 where there is no memory.
EXPORT int dlrun_evaluate(const Plan *p, int64_t first, int64_t last, const vf *theta, const int64_t *places, int64_t start,
                          int64_t stop, int64_t runs, float *output, int64_t layer, float *into, float *loss) {
  Space *space = room(p, CHUNK);
  if (!space) return -1;
  const unsigned long floats = flush_small();
  const long width = p->outputs * p->members, each = (stop - start) * width;
  const long wide = p->layers[layer].inputs * p->members, each_wide = (stop - start) * wide;
  for (int64_t q = first; q < last; q++) {
    const vf *own = p->numbers + q * p->numbers_each + p->loss_numbers;
    const int kind = unsoftened((int)p->blocks[q].loss);
    const long lanes = runs - q * V < V ? runs - q * V : V;
    vd values = {}, weights = {};
    for (int64_t from = start; from < stop; from += CHUNK) {
      const long rows = evaluate(p, q, theta, (Rows){places, start, stop}, from, space);
      if (output) apart(space->input[p->depth], output + q * V * each + (from - start) * width, rows * width, each, lanes);
      if (into) apart(space->input[layer], into + q * V * each_wide + (from - start) * wide, rows * wide, each_wide, lanes);
      if (!loss) continue;
      vf value[CHUNK], weight[CHUNK];
      loss_values(kind, own, space->input[p->depth], space->target, value, weight, rows, p->width, p->pixels);
      for (long i = 0; i < rows; i++) values += widen(value[i]), weights += widen(weight[i]);
    }
    const vf mean = narrow(values / weights);
    if (loss) memcpy(loss + q * V, &mean, sizeof mean);
  }
  restore_small(floats);
  leave(space);
  return 0;
}

// What goes on inside every run with the parameters `theta` [blocks][parameters] when such rows are a batch that nothing changes,
// and nothing is dropped: the norms of its gradients [blocks][weights], and of each activation the three figures that inside.h
// has [blocks][activations][3]. The running statistics stay as they are. 0, or -1 where there is no memory.
EXPORT int dlrun_inside(const Plan *p, int64_t first, int64_t last, const vf *theta, const int64_t *places, int64_t start,
                        int64_t stop, vf *norms, vf *units) {
  const long rows = stop - start;
  long activations = 0;
  for (long i = 0; i < p->depth; i++) activations += p->layers[i].kind == LAYER_activation;
  Space *space = room(p, rows);
  if (!space) return -1;
  const unsigned long floats = flush_small();
  for (int64_t q = first; q < last; q++) {
    const vf *mine = theta + q * p->parameters, *own = p->numbers + q * p->numbers_each + p->loss_numbers;
    vf *buffers = space->sides; // a normalization has as many buffers as parameters
    memcpy(buffers, p->state + q * p->stride + p->parameters, (size_t)p->buffers * sizeof *buffers);
    take_places(p, q, (Rows){places, start, stop}, start, rows, space);
    forward(p, q, mine, buffers, space, rows * p->members, 1, NULL);
    activations_inside(p, q, mine, space, rows * p->members, units + 3 * q * activations);
    loss_gradient(unsoftened((int)p->blocks[q].loss), own, space->input[p->depth], space->target, space->grad[0], rows, p->width,
                  p->pixels);
    backward(p, q, mine, buffers, space, rows * p->members);
    weight_norms(p, space->theta, norms + q * p->weights_count);
  }
  restore_small(floats);
  leave(space);
  return 0;
}

#define NAME(name) #name " "
EXPORT const char *dlrun_layers(void) { return LAYERS(NAME); }
#undef NAME

EXPORT int dlrun_slots(int optimizer, int flags) { return optimizer_slots(optimizer, flags); }

// Whether this processor has the instructions that the kernel is made of, and the system keeps their registers.
// __builtin_cpu_supports would say so too, but not where zig compiles: there it is 0 for everything.
EXPORT int dlrun_runs_here(void) {
#if defined(__x86_64__)
#if defined(__AVX512F__)
  const unsigned registers = 0xe6, more = bit_AVX2 | bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
#else
  const unsigned registers = 6, more = bit_AVX2; // registers: xmm and ymm; above, zmm and masks too
#endif
  const unsigned wanted = bit_FMA | bit_OSXSAVE | bit_AVX;
  unsigned a, b, c, d, kept, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & wanted) != wanted) return 0;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  return (kept & registers) == registers && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & more) == more;
#else
  return 1;
#endif
}
