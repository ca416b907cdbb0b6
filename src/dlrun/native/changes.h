// What changes a batch before a step: dlrun/components/regularizers/batches.py, with the same random numbers. Evaluation sees the
// data as they are.
#ifndef DLRUN_CHANGES_H
#define DLRUN_CHANGES_H

#include "functions.h"
#include "streams.h"

// The names of changes, in the order of their numbers, and the number that each has of every run
#define CHANGES(X)                                                                                                               \
  X(label_smoothing) /* s */                                                                                                     \
  X(noise)           /* its standard deviation */                                                                                \
  X(mask)            /* what sixteen bits are below where a number becomes 0, an int32 */                                        \
  X(mixup)           /* which table of shares, an int32 */                                                                       \
  X(shift) X(flip) X(rotate) X(crop) /* strength */
enum {
#define AS_CHANGE(name) CHANGE_##name,
  CHANGES(AS_CHANGE)
#undef AS_CHANGE
};

#define SHARES 4096 // in a table of mixup, quantiles of a Beta distribution

typedef struct {
  int64_t kind, numbers;                    // where its number lies among those of a block
  int64_t channels, height, width, masks;   // of an image; whether targets are masks, which move with it
} Change;

typedef struct {
  vf *input, *target, *soft; // [rows][width], [rows][targets]; the shares of classes [rows][classes][targets] that targets become
  vf *spare;                 // as much as the larger of input and soft, and for mixup three more vectors a row
  const float *shares;       // [tables][SHARES]
  long rows, width, targets, classes;
  int integral, softened; // whether targets are numbers of classes, whether they are shares by now
} Batch;

// Numbers of classes become shares of them
static void soften(Batch *b) {
  if (!b->integral || b->softened) return;
  b->softened = 1;
  for (long i = 0; i < b->rows; i++)
    for (long k = 0; k < b->classes; k++)
      for (long j = 0; j < b->targets; j++) {
        const vi mine = (vi)b->target[i * b->targets + j] == (int32_t)k;
        b->soft[(i * b->classes + k) * b->targets + j] = (vf)((vi)splat(1.0f) & mine);
      }
}

INLINE vf *goals(const Batch *b) { return b->softened ? b->soft : b->target; }
INLINE long goals_each(const Batch *b) { return b->softened ? b->classes * b->targets : b->targets; }

// t (1 - s) + s / K for each class, or drawn towards one half where classes do not exclude each other
static void smooth(Batch *b, vf amount) {
  soften(b);
  const vf share = amount * (b->integral ? 1.0f / (float)b->classes : 0.5f), kept = 1.0f - amount;
  vf *y = goals(b);
  for (long i = 0; i < b->rows * goals_each(b); i++) y[i] = mad(y[i], kept, share);
}

// Standard normal numbers by Box and Muller: cosines are the first half of them, sines the rest
static void add_noise(vw keys, vf deviation, vf *x, long count) {
  const long half = (count + 1) / 2;
  for (long i = 0; i < half; i++) {
    const vd radius = root_d(-2.0 * log_d(1.0 - uniform_d_of(bits_at(keys, i))));
    const Turn t = turn(uniform_d_of(bits_at(keys, half + i)) * 0x1.921fb54442d18p+2);
    x[i] += narrow(radius * t.cosine) * deviation;
    if (half + i < count) x[half + i] += narrow(radius * t.sine) * deviation;
  }
}

// Sixteen bits decide, as in dropout
static void blank(vw keys, vi limit, vf *x, long count) {
  for (long i = 0; i < count; i += 4) {
    const vw word = bits_at(keys, i / 4);
    for (long k = 0; k < 4 && i + k < count; k++) x[i + k] = (vf)((vi)x[i + k] & ~(sixteen_of(word, k) < limit));
  }
}

static void mix_rows(vf *x, vf *before, const vi *partner, vf share, long rows, long width) {
  const vf rest = 1.0f - share;
  memcpy(before, x, (size_t)(rows * width) * sizeof *x);
  for (long i = 0; i < rows; i++)
    for (long k = 0; k < width; k++)
      x[i * width + k] = share * before[i * width + k] + rest * gather(before + k, partner[i] * (int32_t)width);
}

// Each row becomes a mean of itself and another one, of weights that are drawn from a run's table
static void mix_up(Batch *b, vw keys, vi table) {
  const long rows = b->rows, most = b->width > b->classes * b->targets ? b->width : b->classes * b->targets;
  vi *partner = (vi *)(b->spare + rows * most);
  uint64_t *words = (uint64_t *)(partner + rows);
  const vw first = bits_at(derive_each(keys, 1), 0) & (SHARES - 1), second = derive_each(keys, 2);
  vf share;
  for (int l = 0; l < V; l++) {
    share[l] = b->shares[table[l] * SHARES + (int64_t)first[l]];
    permute(second[l], rows, words, words + rows, (int32_t *)(words + 2 * rows));
    for (long i = 0; i < rows; i++) partner[i][l] = (int32_t)words[i];
  }
  soften(b);
  mix_rows(b->input, b->spare, partner, share, rows, b->width);
  mix_rows(goals(b), b->spare, partner, share, rows, goals_each(b));
}

// Where the pixel of a moved image comes from: an affine function of the pixel's column and row, both measured from the middle
typedef struct {
  vf by_column, by_row, offset;
} Affine;

typedef struct {
  Affine column, row;
} Map;

// Of row i. Offsets are shares of half an image's side.
static Map map_of(const Change *c, vw keys, vf strength, long i, long rows) {
  vf draw[3], aside[3];
  for (int j = 0; j < 3; j++) draw[j] = uniform_of(bits_at(keys, j * rows + i)), aside[j] = draw[j] * 2.0f - 1.0f;
  const vf one = splat(1.0f), none = splat(0.0f);
  Map m = {{one, none, none}, {none, one, none}};
  if (c->kind == CHANGE_shift) {
    m.column.offset = 2.0f * strength * aside[0], m.row.offset = 2.0f * strength * aside[1];
  } else if (c->kind == CHANGE_flip) {
    m.column.by_column = choose(draw[0] < strength, -one, one);
  } else if (c->kind == CHANGE_rotate) {
    const Turn t = turn(widen(aside[0] * strength * 3.14159265f));
    const vf sine = narrow(t.sine), aspect = splat((float)c->width / (float)c->height);
    m.column.by_column = m.row.by_row = narrow(t.cosine);
    m.column.by_row = -sine * aspect, m.row.by_column = sine / aspect;
  } else {
    const vf side = 1.0f - strength * magnitude(aside[2]);
    m.column.by_column = m.row.by_row = side;
    m.column.offset = (1.0f - side) * aside[0], m.row.offset = (1.0f - side) * aside[1];
  }
  return m;
}

INLINE vf place_of(Affine a, float column, float row, long side) {
  const vf middle = mad(a.offset, splat(0.5f * (float)side), splat(0.5f * (float)(side - 1)));
  return mad(a.by_column, splat(column), mad(a.by_row, splat(row), middle));
}

// The pixel at a place of an image, 0 outside
INLINE vf pixel(const vf *image, vi row, vi column, long height, long width) {
  const vi inside = (row >= 0) & (row < (int32_t)height) & (column >= 0) & (column < (int32_t)width);
  return (vf)((vi)gather(image, (row * (int32_t)width + column) & inside) & inside);
}

// The whole number at or below x
INLINE vi floor_of(vf x) {
  const vi whole = integers(x);
  return whole + (numbers(whole) > x);
}

// Between four pixels
static vf between(const vf *image, vf row, vf column, long height, long width) {
  const vi above = floor_of(row), left = floor_of(column);
  const vf down = row - numbers(above), right = column - numbers(left), up = 1.0f - down, back = 1.0f - right;
  vf sum = pixel(image, above, left, height, width) * (back * up);
  sum = mad(pixel(image, above, left + 1, height, width), right * up, sum);
  sum = mad(pixel(image, above + 1, left, height, width), back * down, sum);
  return mad(pixel(image, above + 1, left + 1, height, width), right * down, sum);
}

// The nearest of two whole numbers, the even one half way between
INLINE vi nearest(vf x) { return integers(x + 0x1.8p23f - 0x1.8p23f); }

// Masks take the nearest pixel; what comes in from outside is class 0
static void move_masks(const Change *c, const Map *m, vf *y, vf *before, long classes) {
  const long pixels = c->height * c->width;
  memcpy(before, y, (size_t)(classes * pixels) * sizeof *y);
  for (long i = 0; i < c->height; i++)
    for (long j = 0; j < c->width; j++) {
      const float from_row = (float)i - 0.5f * (float)(c->height - 1), from_column = (float)j - 0.5f * (float)(c->width - 1);
      const vi row = nearest(place_of(m->row, from_column, from_row, c->height));
      const vi column = nearest(place_of(m->column, from_column, from_row, c->width));
      const vi outside = (row < 0) | (row >= (int32_t)c->height) | (column < 0) | (column >= (int32_t)c->width);
      for (long k = 0; k < classes; k++) {
        const vf found = pixel(before + k * pixels, row, column, c->height, c->width);
        y[k * pixels + i * c->width + j] = classes > 1 && k == 0 ? choose(outside, splat(1.0f), found) : found;
      }
    }
}

static void move_image(const Change *c, const Map *m, vf *x, vf *before) {
  const long pixels = c->height * c->width;
  memcpy(before, x, (size_t)(c->channels * pixels) * sizeof *x);
  for (long i = 0; i < c->height; i++)
    for (long j = 0; j < c->width; j++) {
      const float from_row = (float)i - 0.5f * (float)(c->height - 1), from_column = (float)j - 0.5f * (float)(c->width - 1);
      const vf row = place_of(m->row, from_column, from_row, c->height);
      const vf column = place_of(m->column, from_column, from_row, c->width);
      for (long k = 0; k < c->channels; k++)
        x[k * pixels + i * c->width + j] = between(before + k * pixels, row, column, c->height, c->width);
    }
}

// Each image by its own random amount
static void move_images(const Change *c, Batch *b, vw keys, vf strength) {
  for (long i = 0; i < b->rows; i++) {
    const Map m = map_of(c, keys, strength, i, b->rows);
    move_image(c, &m, b->input + i * b->width, b->spare);
    if (c->masks) move_masks(c, &m, goals(b) + i * goals_each(b), b->spare, b->softened ? b->classes : 1);
  }
}

// `keys` are those of this change in this step, `number` is its number of each run
static void change(const Change *c, Batch *b, vw keys, vf number) {
  switch (c->kind) {
  case CHANGE_label_smoothing: return smooth(b, number);
  case CHANGE_noise: return add_noise(keys, number, b->input, b->rows * b->width);
  case CHANGE_mask: return blank(keys, (vi)number, b->input, b->rows * b->width);
  case CHANGE_mixup: return mix_up(b, keys, (vi)number);
  default: return move_images(c, b, keys, number);
  }
}

// Vectors in the spare room of a batch: see Batch
INLINE long spare_of(const Batch *b) {
  const long soft = b->classes * b->targets;
  return b->rows * ((b->width > soft ? b->width : soft) + 3);
}

// For the tests and for Python

#define NAME(name) #name " "
const char *dlrun_changes(void) { return CHANGES(NAME); }
#undef NAME

void dlrun_change(const Change *c, Batch *b, const vw *keys, const vf *number) { change(c, b, *keys, *number); }

#endif
