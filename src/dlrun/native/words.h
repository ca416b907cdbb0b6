// Layers of sequences of words. A sequence is [places] numbers of words, from 1 on, and 0 behind its last word.
#ifndef DLRUN_WORDS_H
#define DLRUN_WORDS_H

#include "vector.h"

// x where there is a word, else 0
INLINE vf where_word(vi word, vf x) { return (vf)((vi)x & (word != 0)); }

// The coordinates of each word as channels: y [rows][size][places] of weights [words][size]
static void embedding_forward(const vf *w, const vi *words, vf *y, long rows, long places, long size) {
  for (long i = 0; i < rows; i++)
    for (long t = 0; t < places; t++) {
      const vi word = words[i * places + t], first = ((word - 1) & (word != 0)) * (int32_t)size;
      for (long k = 0; k < size; k++) y[(i * size + k) * places + t] = where_word(word, gather(w + k, first));
    }
}

// dw [count][size]: of each word the sum over the places where it stands
static void embedding_backward(const vf *dy, const vi *words, vf *dw, long rows, long places, long size, long count) {
  memset(dw, 0, (size_t)(count * size) * sizeof *dw);
  for (long i = 0; i < rows; i++)
    for (long t = 0; t < places; t++)
      for (int l = 0; l < V; l++) {
        const int32_t word = words[i * places + t][l];
        if (!word) continue;
        for (long k = 0; k < size; k++) dw[(word - 1) * size + k][l] += dy[(i * size + k) * places + t][l];
      }
}

// The gradient of what stood where there is no word is 0
static void keep_words(const vi *words, vf *dx, long rows, long channels, long places) {
  for (long i = 0; i < rows; i++)
    for (long c = 0; c < channels; c++)
      for (long t = 0; t < places; t++) {
        vf *at = dx + (i * channels + c) * places + t;
        *at = where_word(words[i * places + t], *at);
      }
}

// How much a word adds to a mean: 1 / how many a sequence has; every sequence has one
INLINE vf share_of_word(const vi *words, long places) {
  vf count = {};
  for (long t = 0; t < places; t++) count += where_word(words[t], splat(1.0f));
  return 1.0f / count;
}

// The means of some channels over the words
INLINE void mean_channels(const vi *words, vf share, const vf *x, vf *y, long places, const int channels) {
  vf sum[4] = {};
  for (long t = 0; t < places; t++) {
    const vf here = where_word(words[t], share);
    for (int c = 0; c < channels; c++) sum[c] = mad(x[c * places + t], here, sum[c]);
  }
  for (int c = 0; c < channels; c++) y[c] = sum[c];
}

// The mean over the words of each channel
static void mean_words_forward(const vi *words, const vf *x, vf *y, long rows, long channels, long places) {
  for (long i = 0; i < rows; i++, words += places, x += channels * places, y += channels) {
    const vf share = share_of_word(words, places);
    long c = 0;
    for (; c + 4 <= channels; c += 4) mean_channels(words, share, x + c * places, y + c, places, 4);
    for (; c < channels; c++) mean_channels(words, share, x + c * places, y + c, places, 1);
  }
}

static void mean_words_backward(const vi *words, const vf *dy, vf *dx, long rows, long channels, long places) {
  for (long i = 0; i < rows; i++, words += places, dx += channels * places, dy += channels) {
    const vf share = share_of_word(words, places);
    for (long t = 0; t < places; t++) {
      const vf here = where_word(words[t], share);
      for (long c = 0; c < channels; c++) dx[c * places + t] = dy[c] * here;
    }
  }
}

#endif
