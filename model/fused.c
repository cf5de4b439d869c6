/* Batch-norm and companding of one layer, forward and backward, for training on a CPU (see fused.py).

   Tensors are bfloat16 channels-last, so memory is (pixels, channels); channels is a multiple of 16, one vector.
       xhat = (x - mean) * rstd
       v    = a * erf(k * xhat + b) + o          a, k, b, o per channel
       y    = unit * floor(clamp(v, 0, top + 0.5))
   The gradient of floor is taken as 1 inside the clamp. Sums run in float over blocks and in double over all. */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define BLOCK 512

typedef float vec __attribute__((vector_size(4 * LANES)));
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
void forward(const uint16_t *x, uint16_t *y, int64_t pixels, int64_t channels, const float *par, float top, float unit) {
    const vec zero = {0};
    for (int64_t p0 = 0; p0 < pixels; p0 += BLOCK)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t end = p0 + BLOCK < pixels ? p0 + BLOCK : pixels;
            vec mean = loadf(par + c), rstd = loadf(par + channels + c), a = loadf(par + 2 * channels + c),
                k = loadf(par + 3 * channels + c), b = loadf(par + 4 * channels + c), o = loadf(par + 5 * channels + c);
            for (int64_t p = p0; p < end; p++) {
                vec gauss, v = a * erf_of(k * ((load(x + p * channels + c) - mean) * rstd) + b, &gauss) + o;
                v = choose(v > zero, v, zero);
                v = choose(v < zero + top, v, zero + top);
                store(y + p * channels + c, unit * __builtin_convertvector(__builtin_convertvector(v, ivec), vec));
            }
        }
}

/* Writes dL/dxhat into dx and adds the sums over pixels of dL/d(a, o, k, b), four rows of `channels`. */
void backward(const uint16_t *x, const uint16_t *dy, uint16_t *dx, int64_t pixels, int64_t channels, const float *par,
              float top, float unit, double *sums) {
    const vec zero = {0};
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
                ivec inside = (v > zero) & (v < zero + (top + 0.5f));
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
