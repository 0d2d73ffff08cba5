/* The fused head's work on rows of bf16 logits, each row processed while it is in the cache.
 *
 * distillation_rows: loss and logit gradient.
 *
 * For a row with student logits s, teacher logits t (NULL: cross-entropy alone), label y and u = s / T:
 *
 *     CE = log sum exp s - s[y]                      KL = sum q (log q - log p),  p = softmax(s / T), q = softmax(t / T)
 *     d(alpha CE + (1 - alpha) T^2 KL) / ds = alpha (softmax(s) - onehot(y)) + (1 - alpha) T (p - q)
 *
 * The gradient overwrites s. Products are fp32; sums over a tile are fp32, over a row fp64. NaN stays NaN. Exponentials of a
 * row are kept in fp32 between the two sweeps: at a vocabulary of 150k they fit the second-level cache of a server.
 */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TILE 4096
#define PAGE 2048 /* logits of a memory page; the processor's own prefetcher stops at its end */
#define LINE 32   /* logits of a cache line */
#define LOG2_E 1.44269504088896341f
#define INLINE static inline __attribute__((always_inline)) /* so that constant arguments prune the loops */

typedef struct {
    float student_max, teacher_max, to_log2; /* exponent of e and f: (logit - max) * to_log2, to_log2 = log2(e) / T */
} Row;

typedef struct {
    double student_1, student_T, teacher_T, difference; /* sums of exp(s), exp(s/T), exp(t/T), exp(t/T) (t - s) */
} Sums;

INLINE float widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE uint16_t round_to_bf16(float value) { /* to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* 2^x for x <= 0, relative error 1e-7 (minimax polynomial of 2^f, |f| <= 1/2); written out so that compilers vectorise it */
INLINE float exp2_nonpositive(float x) {
    x = x < -126.0f ? -126.0f : x;
    float shifted = x + 0x1.8p23f, whole = shifted - 0x1.8p23f, f = x - whole; /* the sum's low bits are the whole part */
    float power = 1.32764668e-3f;
    power = power * f + 9.67554129e-3f;
    power = power * f + 5.55071329e-2f;
    power = power * f + 2.40221197e-1f;
    power = power * f + 6.93146967e-1f;
    power = power * f + 1.00000007f;
    uint32_t bits, exponent;
    memcpy(&bits, &power, sizeof bits);
    memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(s - max) from e = exp((s - max) / T): a square at T = 2, which saves a third of the work */
INLINE float at_temperature_1(float e, float shifted, int squared) {
    return squared ? e * e : exp2_nonpositive(shifted * LOG2_E);
}

INLINE float page_max(const uint16_t *row, ptrdiff_t length, float largest) {
#pragma omp simd reduction(max : largest)
    for (ptrdiff_t i = 0; i < length; i++) {
        float value = widen(row[i]);
        largest = value > largest ? value : largest;
    }
    return largest;
}

/* The first sweep of a row, which brings it into the cache. */
static float row_max(const uint16_t *row, ptrdiff_t length) {
    float largest = -FLT_MAX;
    for (ptrdiff_t i = 0; i < length; i += PAGE) {
        for (int k = 2 * PAGE; k < 3 * PAGE; k += LINE)
            __builtin_prefetch(row + i + k);
        largest = page_max(row + i, length - i < PAGE ? length - i : PAGE, largest);
    }
    return largest;
}

INLINE void add_tile(
    const uint16_t *restrict s, const uint16_t *restrict t, ptrdiff_t length, Row row, int squared, Sums *sums,
    float *restrict student_exp, float *restrict teacher_exp) {
    float student_1 = 0, student_T = 0, teacher_T = 0, difference = 0;
#pragma omp simd reduction(+ : student_1, student_T, teacher_T, difference)
    for (ptrdiff_t i = 0; i < length; i++) {
        float a = widen(s[i]) - row.student_max, e = exp2_nonpositive(a * row.to_log2);
        student_1 += at_temperature_1(e, a, squared);
        student_T += e;
        student_exp[i] = e;
        if (t) {
            float b = widen(t[i]) - row.teacher_max, f = exp2_nonpositive(b * row.to_log2);
            teacher_T += f;
            difference += f * (b - a);
            teacher_exp[i] = f;
        }
    }
    sums->student_1 += student_1;
    sums->student_T += student_T;
    sums->teacher_T += teacher_T;
    sums->difference += difference;
}

typedef struct {
    float student_1, student_T, teacher_T; /* factors of exp(s), exp(s/T), exp(t/T) in the gradient */
} Factors;

/* From e = exp((s - max) / T) and f = exp((t - max) / T), which is 0 without a teacher. */
INLINE float gradient_at(float s, float e, float f, Row row, Factors factors, int squared) {
    return factors.student_1 * at_temperature_1(e, s - row.student_max, squared) + factors.student_T * e -
           factors.teacher_T * f;
}

INLINE void write_gradient(
    uint16_t *restrict s, const float *restrict student_exp, const float *restrict teacher_exp, ptrdiff_t length, Row row,
    Factors factors, int squared, int taught) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < length; i++)
        s[i] = round_to_bf16(
            gradient_at(widen(s[i]), student_exp[i], taught ? teacher_exp[i] : 0, row, factors, squared));
}

INLINE void one_row(
    uint16_t *s, const uint16_t *t, int64_t label, ptrdiff_t length, float alpha, float temperature, int squared,
    float *scratch, double *ce, double *divergence) {
    float *student_exp = scratch, *teacher_exp = scratch + length;
    Row row = {row_max(s, length), t ? row_max(t, length) : 0, LOG2_E / temperature};
    Sums sums = {0, 0, 0, 0};
    for (ptrdiff_t i = 0; i < length; i += TILE)
        add_tile(s + i, t ? t + i : NULL, length - i < TILE ? length - i : TILE, row, squared, &sums, student_exp + i,
                 teacher_exp + i);

    float weight = t ? (1 - alpha) * temperature : 0;
    Factors factors = {alpha / sums.student_1, weight / sums.student_T, t ? weight / sums.teacher_T : 0};
    float at_label = widen(s[label]);
    write_gradient(s, student_exp, teacher_exp, length, row, factors, squared, t != NULL);
    float teacher_at_label = t ? teacher_exp[label] : 0;
    s[label] = round_to_bf16(
        gradient_at(at_label, student_exp[label], teacher_at_label, row, factors, squared) - alpha);

    *ce = log(sums.student_1) + row.student_max - at_label;
    *divergence = t ? sums.difference / (temperature * sums.teacher_T) + log(sums.student_T / sums.teacher_T) : 0;
}

/* Rows [rows, vocabulary] of contiguous bf16; ce and divergence receive one value a row. scratch: [2, vocabulary]. */
void distillation_rows(
    uint16_t *student, const uint16_t *teacher, const int64_t *labels, int64_t rows, int64_t vocabulary, float alpha,
    float temperature, float *scratch, double *ce, double *divergence) {
    for (int64_t i = 0; i < rows; i++) {
        uint16_t *s = student + i * vocabulary;
        const uint16_t *t = teacher + i * vocabulary;
        /* The constants make four programs, each without the others' work. */
        if (teacher && temperature == 2.0f)
            one_row(s, t, labels[i], vocabulary, alpha, temperature, 1, scratch, ce + i, divergence + i);
        else if (teacher)
            one_row(s, t, labels[i], vocabulary, alpha, temperature, 0, scratch, ce + i, divergence + i);
        else
            one_row(s, NULL, labels[i], vocabulary, alpha, 1.0f, 0, scratch, ce + i, divergence + i);
    }
}
