// Vectors of lanes, and the operations of a netlist on them and on plain integers.
//
// A block has 16 lanes: most values have at most 8 bits, and 16 of those fill a vector register of 128 bits, which every
// processor with vectors has; the compiler takes more registers, or wider ones, for wider values. Every function goes
// through block after block, so that its code and the values that all lanes share are fetched once for all of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#if defined(__AVX512BW__) && !defined(ONE_LANE)
#include <immintrin.h>
#endif

#if defined(ONE_LANE)
constexpr int BLOCK = 1, BLOCKS = 1;
#elif defined(__AVX512BW__)
constexpr int BLOCK = 16, BLOCKS = 4;
#else
constexpr int BLOCK = 16, BLOCKS = 2;
#endif
constexpr int LANES = BLOCK * BLOCKS;

typedef uint32_t U32;
typedef uint64_t U64;

// Scalars: a value of at most 32 or 64 bits, computed in that many.
static inline U32 sext32(U32 x, int width) { return U32(int32_t(x << (32 - width)) >> (32 - width)); }
static inline U64 sext64(U64 x, int width) { return U64(int64_t(x << (64 - width)) >> (64 - width)); }
static inline U32 shl(U32 x, U64 n) { return n < 32 ? x << n : 0; }
static inline U64 shl(U64 x, U64 n) { return n < 64 ? x << n : 0; }
static inline U32 shr(U32 x, U64 n) { return n < 32 ? x >> n : 0; }
static inline U64 shr(U64 x, U64 n) { return n < 64 ? x >> n : 0; }
static inline U32 sar(U32 x, U64 n) { return U32(int32_t(x) >> (n < 31 ? n : 31)); }
static inline U64 sar(U64 x, U64 n) { return U64(int64_t(x) >> (n < 63 ? n : 63)); }
// Bits from `low` on of a number of several words, lowest first; 0 beyond them.
template <class Word>
static inline Word window(U64 low, std::initializer_list<Word> words) {
    const Word *word = words.begin();
    const Word nothing = *word ^ *word;
    const size_t k = low / 64, n = low % 64;
    Word x = k < words.size() ? word[k] >> n : nothing;
    if (n && k + 1 < words.size()) x |= word[k + 1] << (64 - n);
    return x;
}
static inline U32 parity(U64 x) { return __builtin_parityll(x); }

#if !defined(ONE_LANE)
template <size_t bytes> struct Signed;
#define VECTORS(bits)                                                                                                  \
    typedef uint##bits##_t V##bits __attribute__((vector_size(BLOCK * bits / 8)));                                     \
    typedef int##bits##_t S##bits __attribute__((vector_size(BLOCK * bits / 8)));                                      \
    template <> struct Signed<BLOCK * bits / 8> { typedef S##bits Vector; };                                           \
    static inline V##bits wide##bits(U64 x) { return V##bits{} + uint##bits##_t(x); }                                  \
    static inline V##bits sext##bits(V##bits x, int width) {                                                           \
        return V##bits(S##bits(x << (bits - width)) >> (bits - width)); }                                              \
    static inline V##bits shl(V##bits x, U64 n) { return n < bits ? x << uint##bits##_t(n) : V##bits{}; }              \
    static inline V##bits shr(V##bits x, U64 n) { return n < bits ? x >> uint##bits##_t(n) : V##bits{}; }              \
    static inline V##bits sar(V##bits x, U64 n) { return V##bits(S##bits(x) >> int(n < bits ? n : bits - 1)); }        \
    static inline V##bits shl(V##bits x, V##bits n) { return (x << (n & (bits - 1))) & V##bits(n < bits); }            \
    static inline V##bits shr(V##bits x, V##bits n) { return (x >> (n & (bits - 1))) & V##bits(n < bits); }            \
    static inline V##bits sar(V##bits x, V##bits n) {                                                                  \
        n = n < bits ? n : V##bits{} + (bits - 1);                                                                     \
        return V##bits(S##bits(x) >> S##bits(n)); }                                                                    \
    static inline V##bits at_most(V##bits x, int n) {                                                                  \
        const V##bits most = V##bits{} + uint##bits##_t(n);                                                            \
        return x < most ? x : most; }
VECTORS(8)
VECTORS(16)
VECTORS(32)
VECTORS(64)
#undef VECTORS

template <class V> struct Next;
template <> struct Next<V8> { typedef V16 Wider; };
template <> struct Next<S8> { typedef S16 Wider; };
template <> struct Next<V16> { typedef V32 Wider; typedef V8 Narrower; };
template <> struct Next<S16> { typedef S32 Wider; typedef S8 Narrower; };
template <> struct Next<V32> { typedef V64 Wider; typedef V16 Narrower; };
template <> struct Next<S32> { typedef S64 Wider; typedef S16 Narrower; };
template <> struct Next<V64> { typedef V32 Narrower; };
template <> struct Next<S64> { typedef S32 Narrower; };
// The compiler's own conversion, in steps of two: what it makes of longer ones is one lane at a time.
template <class To, class From>
static inline To to(From x) {
    if constexpr (sizeof(To) == sizeof(From)) return To(x);
    else if constexpr (sizeof(To) > 2 * sizeof(From))
        return to<To>(__builtin_convertvector(x, typename Next<From>::Wider));
    else if constexpr (2 * sizeof(To) < sizeof(From))
        return to<To>(__builtin_convertvector(x, typename Next<From>::Narrower));
    else return __builtin_convertvector(x, To);
}
#if defined(__AVX512BW__) && defined(__AVX512VL__)
static_assert(BLOCK == 16, "of the conversions below");
#define CONVERSION(To, From, function, Argument) \
    template <> inline To to<To, From>(From x) { return To(function(Argument(x))); }
CONVERSION(V16, V8, _mm256_cvtepu8_epi16, __m128i)
CONVERSION(V32, V8, _mm512_cvtepu8_epi32, __m128i)
CONVERSION(V32, V16, _mm512_cvtepu16_epi32, __m256i)
CONVERSION(S16, S8, _mm256_cvtepi8_epi16, __m128i)
CONVERSION(S32, S8, _mm512_cvtepi8_epi32, __m128i)
CONVERSION(V8, V16, _mm256_cvtepi16_epi8, __m256i)
CONVERSION(V8, V32, _mm512_cvtepi32_epi8, __m512i)
CONVERSION(V16, V32, _mm512_cvtepi32_epi16, __m512i)
CONVERSION(S8, S16, _mm256_cvtepi16_epi8, __m256i)
CONVERSION(S8, S32, _mm512_cvtepi32_epi8, __m512i)
#undef CONVERSION
#endif
// Comparisons give -1 or 0 of their operands' size (`long` or `long long`, say, as the compiler likes); a bit is 1 or 0
// of eight.
template <class Mask>
static inline V8 bit(Mask m) { return V8(to<S8>(typename Signed<sizeof(Mask)>::Vector(m))) & uint8_t(1); }
// `a` where the bit `s` is 0, `b` where it is 1.
static inline V8 mux(V8 s, V8 a, V8 b) { V8 m = V8{} - s; return a ^ ((a ^ b) & m); }
static inline V16 mux(V8 s, V16 a, V16 b) { V16 m = V16(to<S16>(S8(V8{} - s))); return a ^ ((a ^ b) & m); }
static inline V32 mux(V8 s, V32 a, V32 b) { V32 m = V32(to<S32>(S8(V8{} - s))); return a ^ ((a ^ b) & m); }
static inline V64 mux(V8 s, V64 a, V64 b) { V64 m = V64(to<S64>(S8(V8{} - s))); return a ^ ((a ^ b) & m); }
template <class V>
static inline V8 parity(V x) {
    for (int n = 4 * sizeof x[0]; n; n >>= 1) x ^= x >> n;
    return to<V8>(x) & uint8_t(1);
}
// Word `address[lane]` of a memory, of one for all lanes or of each lane's own; 0 beyond its depth.
template <class V, class Word, class Address>
static inline V gather(const Word *memory, U64 size, Address address) {
    V x = {};
    for (int lane = 0; lane < BLOCK; lane++) {
        if (address[lane] >= size) continue;
        if constexpr (sizeof(Word) == sizeof(V)) x[lane] = memory[address[lane]][lane];
        else x[lane] = memory[address[lane]];
    }
    return x;
}
#endif
