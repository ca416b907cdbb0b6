// Trains cohorts that tests/replay.py wrote to files, without Python: replay FILE...
//
// A file is a Plan of native-endian integers whose pointers are the bytes of what they point at, the steps to take, whether
// learning rates have factors, the arrays in the order of the pointers (but for `drawn`, which has no content yet), and the
// factors [steps][blocks][V]. For each file one line is printed: hashes of theta, of the losses of all rows, of the outputs, and of
// what goes on inside. All arrays are exactly as large as they have to be, so that a sanitizer sees what reads beyond.

#include <stdio.h>
#include <stdlib.h>

#define POINTERS 15 // of a Plan; the last one is `drawn`

static void *memory(size_t bytes) {
  void *found = NULL;
  if (posix_memalign(&found, 64, bytes ? bytes : 1)) exit(3);
  return found;
}

// With -DAPART each part of the space of a batch lies alone, so that a sanitizer sees who goes from one into the next
#if defined(APART)
#include <malloc.h>
#define room packed_room
#define leave packed_leave
#include "../../src/dlrun/native/model.h"
#undef room
#undef leave

// Part number i of the space, in the order in which the parts lie; NULL behind the last
static vf **part(Space *s, long depth, long i) {
  vf **last[] = {&s->grad[0], &s->grad[1], &s->theta, &s->sides, &s->target, &s->soft, &s->spare};
  const long layers = 2 * depth + 1, count = layers + (long)(sizeof last / sizeof *last);
  if (i < layers) return i % 2 ? &s->input[i / 2 + 1] : i ? &s->kept[i / 2 - 1] : &s->input[0];
  return i < count ? last[i - layers] : NULL;
}

static long parted; // the depth of the model whose space it is

static Space *room(const Plan *p, long rows) {
  Space *s = packed_room(p, rows);
  if (!s) return NULL;
  const char *end = (const char *)s->memory + malloc_usable_size(s->memory);
  parted = p->depth;
  for (long i = 0; part(s, parted, i); i++) {
    vf **here = part(s, parted, i), **next = part(s, parted, i + 1);
    const size_t size = (size_t)((next ? (const char *)*next : end) - (const char *)*here);
    *here = memset(memory(size), 0, size);
  }
  return s;
}

static void leave(Space *s) {
  for (long i = 0; part(s, parted, i); i++) free(*part(s, parted, i));
  packed_leave(s);
}
#endif

#include "../../src/dlrun/native/kernel.c"

typedef struct {
  uint64_t sizes[POINTERS];
  int64_t fields[(sizeof(Plan) - POINTERS * sizeof(void *)) / sizeof(int64_t)];
  int64_t steps, scheduled;
} Header;

static void *read_all(FILE *file, size_t bytes) {
  void *found = memory(bytes);
  if (fread(found, 1, bytes, file) != bytes) exit(2);
  return found;
}

// One number of an array, whose bits count together with its place. All NaN are one: processors make different ones.
static uint64_t hash_of(double value, int64_t place) {
  uint64_t bits = 0x7ff8000000000000u;
  if (value == value) memcpy(&bits, &value, sizeof bits);
  return derive(bits, (uint64_t)place);
}

static uint64_t hash_floats(const float *values, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i++) sum += hash_of(values[i], i);
  return sum;
}

static void train(const Plan *p, int64_t steps, const double *factors) {
  const int64_t each = (p->train + p->batch - 1) / p->batch, blocks = p->blocks_count;
  dlrun_start(p);
  for (int64_t epoch = 0, done = 0; done < steps; epoch++) {
    const int64_t count = each < steps - done ? each : steps - done;
    if (dlrun_orders(p, 0, blocks, epoch)) exit(3);
    if (dlrun_steps(p, 0, blocks, epoch, done, 0, count, factors ? factors + done * blocks * V : NULL)) exit(3);
    done += count;
  }
}

static uint64_t hash_losses(const Plan *p, const vf *theta) {
  const int64_t count = p->blocks_count * V;
  float *losses = memory((size_t)count * sizeof *losses);
  if (dlrun_evaluate(p, 0, p->blocks_count, theta, NULL, 0, p->rows, 0, NULL, 0, NULL, losses)) exit(3);
  const uint64_t sum = hash_floats(losses, count);
  free(losses);
  return sum;
}

// The rows, the last one first
static int64_t *backwards(const Plan *p) {
  int64_t *places = memory((size_t)p->rows * sizeof *places);
  for (int64_t i = 0; i < p->rows; i++) places[i] = p->rows - 1 - i;
  return places;
}

static uint64_t hash_outputs(const Plan *p, const vf *theta) {
  const int64_t count = (p->blocks_count * V - 3) * p->rows * p->outputs * p->members;
  const int headed = p->layers[p->depth - 1].kind == LAYER_head;
  int64_t *places = backwards(p);
  float *output = memory((size_t)count * sizeof *output), *before = headed ? memory((size_t)count * sizeof *before) : NULL;
  if (dlrun_evaluate(p, 0, p->blocks_count, theta, places, 0, p->rows, p->blocks_count * V - 3, output, p->depth - 1, before, NULL)) exit(3);
  const uint64_t sum = hash_floats(output, count) + (before ? hash_floats(before, count) : 0);
  free(places), free(output), free(before);
  return sum;
}

static uint64_t hash_inside(const Plan *p, const vf *theta) {
  int64_t norms_count = p->blocks_count * p->weights_count, units_count = 0, *places = backwards(p);
  for (int64_t i = 0; i < p->depth; i++) units_count += 3 * p->blocks_count * (p->layers[i].kind == LAYER_activation);
  vf *norms = memory((size_t)norms_count * sizeof *norms), *units = memory((size_t)units_count * sizeof *units);
  if (dlrun_inside(p, 0, p->blocks_count, theta, places, 0, p->rows, norms, units)) exit(3);
  const uint64_t sum = hash_floats((const float *)norms, norms_count * V) + hash_floats((const float *)units, units_count * V);
  free(places), free(norms), free(units);
  return sum;
}

static void replay(FILE *file) {
  Header header;
  void *arrays[POINTERS], *factors = NULL;
  Plan plan;
  if (fread(&header, sizeof header, 1, file) != 1) exit(2);
  for (int i = 0; i < POINTERS; i++) arrays[i] = i == POINTERS - 1 ? memory(header.sizes[i]) : read_all(file, header.sizes[i]);
  memcpy(&plan, arrays, sizeof arrays);
  memcpy((char *)&plan + sizeof arrays, header.fields, sizeof header.fields);
  if (header.scheduled) factors = read_all(file, (size_t)(header.steps * plan.blocks_count * V) * sizeof(double));
  vf *theta = memory((size_t)(plan.blocks_count * plan.parameters) * sizeof *theta);
  train(&plan, header.steps, factors);
  dlrun_evaluated(&plan, header.steps, theta);
  printf("%016llx", (unsigned long long)hash_floats((const float *)theta, plan.blocks_count * plan.parameters * V));
  printf(" %016llx", (unsigned long long)hash_losses(&plan, theta));
  printf(" %016llx", (unsigned long long)hash_outputs(&plan, theta));
  printf(" %016llx\n", (unsigned long long)hash_inside(&plan, theta));
  for (int i = 0; i < POINTERS; i++) free(arrays[i]);
  free(factors), free(theta);
}

int main(int count, char **names) {
  for (int i = 1; i < count; i++) {
    FILE *file = fopen(names[i], "rb");
    if (!file) return 2;
    replay(file);
    fclose(file);
  }
  return 0;
}
