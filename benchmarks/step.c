// The physical limit: training an mlp with relu, mean squared error and adam, written for the machine and nothing else. Sizes are
// known when it is compiled, so that every loop can be unrolled and vectorized; nothing is allocated; one run is trained after
// the other, which keeps its parameters in the nearest cache.
//
//     cc -O3 -march=native -ffast-math -DSIZES=10,5,1 -DLAYERS=2 -DBATCH=4 step.c -o step -lm
//     ./step 256        seconds for a step of one run, the fastest of several trainings of 256 runs
//
// Without -ffast-math a compiler may not reorder the sums of the backward pass, and so cannot vectorize them.
// A run's parameters are a row, as in dlrun: for each layer its weight [in, out], then its bias [out].
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 266, EPOCHS = 10, TRAININGS = 7, WIDEST = 64 };
static const int size[LAYERS + 1] = {SIZES};

#define INLINE static inline __attribute__((always_inline))

// y = x W + b, then relu for hidden layers
INLINE void forward(int in, int out, const float *restrict w, const float *restrict b, const float *restrict x, float *restrict y,
                    int hidden) {
    for (int i = 0; i < BATCH; i++) {
        float sum[WIDEST];
        for (int j = 0; j < out; j++) sum[j] = b[j];
        for (int d = 0; d < in; d++)
            for (int j = 0; j < out; j++) sum[j] += x[i * in + d] * w[d * out + j];
        for (int j = 0; j < out; j++) y[i * out + j] = hidden && sum[j] < 0 ? 0 : sum[j];
    }
}

// the gradients of W, b and, unless dx is null, of what relu gave as x
INLINE void backward(int in, int out, const float *restrict w, const float *restrict x, const float *restrict dy,
                     float *restrict dw, float *restrict db, float *restrict dx) {
    for (int j = 0; j < out; j++) db[j] = 0;
    for (int i = 0; i < BATCH; i++)
        for (int j = 0; j < out; j++) db[j] += dy[i * out + j];
    for (int d = 0; d < in; d++) {
        float sum[WIDEST];
        for (int j = 0; j < out; j++) sum[j] = 0;
        for (int i = 0; i < BATCH; i++)
            for (int j = 0; j < out; j++) sum[j] += x[i * in + d] * dy[i * out + j];
        for (int j = 0; j < out; j++) dw[d * out + j] = sum[j];
    }
    if (dx)
        for (int i = 0; i < BATCH; i++)
            for (int d = 0; d < in; d++) {
                float sum = 0;
                for (int j = 0; j < out; j++) sum += dy[i * out + j] * w[d * out + j];
                dx[i * in + d] = x[i * in + d] > 0 ? sum : 0;
            }
}

INLINE void adam(int count, float *restrict theta, float *restrict m, float *restrict v, const float *restrict g, int t) {
    double correction = sqrt(1 - pow(0.999, t));
    float rate = (float)(1e-3 * correction / (1 - pow(0.9, t))), eps = (float)(1e-8 * correction);
    for (int p = 0; p < count; p++) {
        m[p] += 0.1f * (g[p] - m[p]);
        v[p] += 0.001f * (g[p] * g[p] - v[p]);
        theta[p] -= rate * m[p] / (sqrtf(v[p]) + eps);
    }
}

// One run from its first step to its last: x [ROWS, in], y [ROWS], order [ROWS] for every epoch; theta, m, v [parameters].
static void train(const float *x, const float *y, const int *order, float *theta, float *m, float *v) {
    static float value[LAYERS + 1][BATCH * WIDEST], slope[LAYERS + 1][BATCH * WIDEST], gradient[1 << 16];
    int start[LAYERS + 1] = {0};
    for (int l = 0; l < LAYERS; l++) start[l + 1] = start[l] + (size[l] + 1) * size[l + 1];
    for (int t = 1; t <= EPOCHS * (ROWS / BATCH); t++) {
        const int *batch = order + (t - 1) % (ROWS / BATCH) * BATCH;
        float target[BATCH];
        for (int i = 0; i < BATCH; i++) {
            memcpy(value[0] + i * size[0], x + batch[i] * size[0], size[0] * sizeof(float));
            target[i] = y[batch[i]];
        }
#pragma GCC unroll 8
        for (int l = 0; l < LAYERS; l++)
            forward(size[l], size[l + 1], theta + start[l], theta + start[l] + size[l] * size[l + 1], value[l], value[l + 1],
                    l + 1 < LAYERS);
        for (int i = 0; i < BATCH; i++) slope[LAYERS][i] = 2 * (value[LAYERS][i] - target[i]) / BATCH;
#pragma GCC unroll 8
        for (int l = LAYERS - 1; l >= 0; l--)
            backward(size[l], size[l + 1], theta + start[l], value[l], slope[l + 1], gradient + start[l],
                     gradient + start[l] + size[l] * size[l + 1], l ? slope[l] : 0);
        adam(start[LAYERS], theta, m, v, gradient, t);
    }
}

static float uniform(float from, float to) { return from + (to - from) * (float)rand() / (float)RAND_MAX; }

static float *filled(long count, float size) {
    float *values = malloc(count * sizeof(float));
    for (long i = 0; i < count; i++) values[i] = uniform(-size, size);
    return values;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
    long runs = argc > 1 ? atol(argv[1]) : 1, count = 0;
    for (int l = 0; l < LAYERS; l++) count += (size[l] + 1) * size[l + 1];
    float *x = filled(runs * ROWS * size[0], 1.7f), *y = filled(runs * ROWS, 1.7f), *theta = filled(runs * count, 0.3f);
    float *m = calloc(runs * count, sizeof(float)), *v = calloc(runs * count, sizeof(float));
    int *order = malloc(runs * ROWS * sizeof(int));
    for (long i = 0; i < runs * ROWS; i++) order[i] = i % ROWS;
    for (long r = 0; r < runs; r++)
        for (int i = ROWS - 1; i > 0; i--) {
            int j = rand() % (i + 1), k = order[r * ROWS + i];
            order[r * ROWS + i] = order[r * ROWS + j], order[r * ROWS + j] = k;
        }
    double best = INFINITY;
    for (int n = 0; n < TRAININGS; n++) {
        double started = now();
        for (long r = 0; r < runs; r++)
            train(x + r * ROWS * size[0], y + r * ROWS, order + r * ROWS, theta + r * count, m + r * count, v + r * count);
        best = fmin(best, now() - started);
    }
    float sum = 0;
    for (long i = 0; i < runs * count; i++) sum += theta[i];
    printf("{\"seconds\": %.4g, \"sum\": %.6g}\n", best / runs / (EPOCHS * (ROWS / BATCH)), sum);
    return 0;
}
