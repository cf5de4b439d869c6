/* Batch-norm and activation quantizer of one layer, forward and backward, for training on a CPU (see fused.py).

   Tensors are bfloat16 channels-last, so memory is (pixels, channels); channels is a multiple of 16, one vector.
       xhat = (x - mean) * rstd
   compand:  v = clamp(a * erf(k * xhat + b) + o, low, top + 0.5)        a, k, b, o per channel
             rounds: low = 0, y = unit * floor(v), and the gradient of floor is taken as 1 inside the clamp
             else:   low = 0.5, y = unit * (v - 0.5), which floor(v) is on average
   segment:  z = k * xhat + b                                            k, b per channel
             y = unit * #{j : z >= edge[j], 0 < j < levels}; gradient of the lines through (edge[j], j)
   Sums run in float over blocks and in double over all. */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define BLOCK 512
#define MOST_LEVELS 256

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float pair __attribute__((vector_size(8)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES)));
typedef uint16_t hvec __attribute__((vector_size(2 * LANES)));

static inline vec load(const uint16_t *p) {
    hvec h;
    memcpy(&h, p, sizeof h);
    return (vec)(__builtin_convertvector(h, uvec) << 16);
}

static inline void store(uint16_t *p, vec x) {
    uvec u = (uvec)x;
    u = (u + 0x7fff + ((u >> 16) & 1)) >> 16;                 /* round to nearest even */
    hvec h = __builtin_convertvector(u, hvec);
    memcpy(p, &h, sizeof h);
}

static inline vec loadf(const float *p) {
    vec x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline vec choose(ivec mask, vec x, vec y) {
    return (vec)(((ivec)x & mask) | ((ivec)y & ~mask));
}

static inline vec exp_negative(vec x) {                       /* e**x for x <= 0, relative error about 1e-7 */
    const vec zero = {0};
    x = choose(x < zero - 80.0f, zero - 80.0f, x);
    vec t = x * 1.44269504f;
    ivec n = __builtin_convertvector(t - 0.5f, ivec);         /* truncation toward zero rounds t <= 0 to nearest */
    vec r = (t - __builtin_convertvector(n, vec)) * 0.69314718f;
    vec p = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f + r * (0.041666668f
          + r * (0.008333334f + r * 0.0013888889f)))));
    return p * (vec)((n + 127) << 23);
}

/* erf(u), Abramowitz and Stegun 7.1.26 (error 1.5e-7), and exp(-u*u), which it needs anyway. */
static inline vec erf_of(vec u, vec *gauss) {
    const vec zero = {0};
    ivec negative = u < zero;
    vec m = choose(negative, -u, u);
    vec t = 1.0f / (1.0f + 0.3275911f * m);
    vec g = exp_negative(-m * m);
    vec y = 1.0f - g * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
          + t * (-1.453152027f + t * 1.061405429f))));
    *gauss = g;
    return choose(negative, -y, y);
}

void moments(const uint16_t *x, int64_t pixels, int64_t channels, double *sum, double *square) {
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec s = {0}, q = {0};
            for (int64_t p = p0; p < end; p++) {
                vec v = load(x + p * channels + c);
                s += v;
                q += v * v;
            }
            for (int i = 0; i < LANES; i++) {
                sum[c + i] += s[i];
                square[c + i] += q[i];
            }
        }
}

/* par: rows mean, rstd, a, k, b, o of `channels` floats each. */
void compand_forward(const uint16_t *x, uint16_t *y, int64_t pixels, int64_t channels, const float *par, float top,
                     float unit, int rounds) {
    const vec zero = {0}, low = zero + (rounds ? 0 : 0.5f), high = zero + (top + 0.5f);
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), a = loadf(par + 2 * channels + c),
                k = loadf(par + 3 * channels + c), b = loadf(par + 4 * channels + c), o = loadf(par + 5 * channels + c);
            for (int64_t p = p0; p < end; p++) {
                vec gauss, v = a * erf_of(k * ((load(x + p * channels + c) - mean) * rstd) + b, &gauss) + o;
                v = choose(v > low, v, low);
                v = choose(v < high, v, high);
                v = rounds ? __builtin_convertvector(__builtin_convertvector(v, ivec), vec) : v - 0.5f;
                store(y + p * channels + c, unit * v);
            }
        }
}

/* Writes dL/dxhat into dx and adds the sums over pixels of dL/d(a, o, k, b), four rows of `channels`. */
void compand_backward(const uint16_t *x, const uint16_t *dy, uint16_t *dx, int64_t pixels, int64_t channels,
                      const float *par, float top, float unit, int rounds, double *sums) {
    const vec zero = {0}, low = zero + (rounds ? 0 : 0.5f), high = zero + (top + 0.5f);
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), a = loadf(par + 2 * channels + c),
                k = loadf(par + 3 * channels + c), b = loadf(par + 4 * channels + c), o = loadf(par + 5 * channels + c);
            vec da = {0}, d_o = {0}, dk = {0}, db = {0};
            for (int64_t p = p0; p < end; p++) {
                int64_t at = p * channels + c;
                vec gauss, xhat = (load(x + at) - mean) * rstd;
                vec e = erf_of(k * xhat + b, &gauss), v = a * e + o;
                ivec inside = (v > low) & (v < high);
                vec g = choose(inside, load(dy + at) * unit, zero);
                vec du = g * a * gauss * 1.12837917f;         /* d erf(u) / du = 2 / sqrt(pi) * exp(-u*u) */
                da += g * e;
                d_o += g;
                dk += du * xhat;
                db += du;
                store(dx + at, du * k);
            }
            for (int i = 0; i < LANES; i++) {
                sums[c + i] += da[i];
                sums[channels + c + i] += d_o[i];
                sums[2 * channels + c + i] += dk[i];
                sums[3 * channels + c + i] += db[i];
            }
        }
}

/* par: rows mean, rstd, k, b. edge: levels + 1 ascending floats. */
void segment_forward(const uint16_t *x, uint16_t *y, int64_t pixels, int64_t channels, const float *par,
                     const float *edge, int64_t levels, float unit) {
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), k = loadf(par + 2 * channels + c),
                b = loadf(par + 3 * channels + c);
            for (int64_t p = p0; p < end; p++) {
                vec z = k * ((load(x + p * channels + c) - mean) * rstd) + b;
                ivec code = {0};
                for (int64_t j = 1; j < levels; j++)
                    code -= z >= edge[j];
                store(y + p * channels + c, unit * __builtin_convertvector(code, vec));
            }
        }
}

/* table[code] for codes below `levels`. */
static inline vec look_up(const float *table, ivec code, int64_t levels) {
    vec found;
#if !defined(__clang__)
    if (levels <= LANES)
        return __builtin_shuffle(loadf(table), code);
#endif
    for (int i = 0; i < LANES; i++)
        found[i] = table[code[i]];
    return found;
}

static inline void interleave(pair *to, vec x, vec y) {
#if defined(__clang__)
    vec first = __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    vec second = __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
    vec first = __builtin_shuffle(x, y, (ivec){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
    vec second = __builtin_shuffle(x, y, (ivec){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
#endif
    memcpy(to, &first, sizeof first);
    memcpy(to + LANES / 2, &second, sizeof second);
}

/* Writes dL/dxhat into dx, adds the sums over pixels of dL/d(k, b) to `sums`, two rows of `channels`, and for each
   segment the sums of dL/dz and of dL/dz times the place in the segment to `bins`, `levels` pairs. y: what
   segment_forward wrote. */
void segment_backward(const uint16_t *x, const uint16_t *y, const uint16_t *dy, uint16_t *dx, int64_t pixels,
                      int64_t channels, const float *par, const float *edge, int64_t levels, float unit,
                      double *sums, double *bins) {
    const vec zero = {0};
    float low[MOST_LEVELS] = {0}, inverse[MOST_LEVELS] = {0};
    pair histogram[MOST_LEVELS * LANES], terms[LANES];
    for (int64_t j = 0; j < levels; j++) {
        low[j] = edge[j];
        inverse[j] = 1.0f / (edge[j + 1] - edge[j]);
    }
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), k = loadf(par + 2 * channels + c),
                b = loadf(par + 3 * channels + c);
            vec dk = {0}, db = {0};
            memset(histogram, 0, levels * LANES * sizeof(pair));
            for (int64_t p = p0; p < end; p++) {
                int64_t at = p * channels + c;
                vec xhat = (load(x + at) - mean) * rstd, z = k * xhat + b;
                ivec code = __builtin_convertvector(load(y + at) * (1 / unit), ivec);
                vec width = look_up(inverse, code, levels);
                ivec inside = (z >= edge[0]) & (z < edge[levels]);
                vec dz = choose(inside, load(dy + at) * unit * width, zero);
                vec upper = dz * ((z - look_up(low, code, levels)) * width);
                interleave(terms, dz, upper);
                for (int i = 0; i < LANES; i++)            /* a histogram for each lane: no two additions collide */
                    histogram[code[i] * LANES + i] += terms[i];
                dk += dz * xhat;
                db += dz;
                store(dx + at, dz * k);
            }
            for (int i = 0; i < LANES; i++) {
                sums[c + i] += dk[i];
                sums[channels + c + i] += db[i];
                for (int64_t j = 0; j < levels; j++) {
                    bins[2 * j] += histogram[j * LANES + i][0];
                    bins[2 * j + 1] += histogram[j * LANES + i][1];
                }
            }
        }
}

/* dL/dxhat in dx becomes dL/dx = rstd * (dxhat - offset - slope * xhat); in evaluation offset and slope are 0. */
void backward_norm(const uint16_t *x, uint16_t *dx, int64_t pixels, int64_t channels, const float *par,
                   const float *offset, const float *slope) {
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), m = loadf(offset + c), q = loadf(slope + c);
            for (int64_t p = p0; p < end; p++) {
                int64_t at = p * channels + c;
                vec xhat = (load(x + at) - mean) * rstd;
                store(dx + at, rstd * (load(dx + at) - m - q * xhat));
            }
        }
}
