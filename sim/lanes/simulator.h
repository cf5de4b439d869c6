// One design in simulation: its state, its clock, and what a driver sees of it.
#pragma once
#include <cstdlib>
#include <cstring>
#include <new>

#include "design.h"

// Bits `low` .. `low + width - 1` of a port: bits `at` ... of a variable of `bytes` bytes, or without bytes `value`.
struct Piece {
    size_t offset;
    int bytes, vector, at, width, low;
    U64 value;
};
struct Port {
    const char *name;
    int width, first, count;        // its pieces
};
extern const Piece pieces[];
extern const Port ports[];
extern const int port_count;
typedef void (*Step)(Shared *, Block *, Block *);
extern const Step steps[];              // one for every set of clocks
extern const char *const notes[];       // of the designs that `undefined.py` watches
void reset(Shared *, Block *, Block *);

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Simulator {
    Shared *shared;
    Block *blocks, *end;            // `end`: behind the blocks that are simulated

    Simulator() {
        shared = static_cast<Shared *>(allocate(sizeof(Shared)));
        blocks = static_cast<Block *>(allocate(sizeof(Block) * BLOCKS));
        end = blocks + BLOCKS;
        reset(shared, blocks, end);
    }
    ~Simulator() {
        free(shared);
        free(blocks);
    }
    Simulator(const Simulator &) = delete;

    // Simulates `lanes` lanes from now on, or a few more. Lanes that come to it begin as copies of the first ones.
    void use_lanes(int lanes) {
        Block *wanted = blocks + (lanes + BLOCK - 1) / BLOCK;
        for (; end < wanted; end++) memcpy(static_cast<void *>(end), blocks, sizeof(Block));
        end = wanted;
    }

    static const Port *find(const char *name) {
        for (const Port *port = ports; port != ports + port_count; port++)
            if (!strcmp(port->name, name)) return port;
        return nullptr;
    }

    // The port as a little-endian number of ceil(width / 32) words.
    void get(const Port *port, int lane, uint32_t *words) const {
        memset(words, 0, (port->width + 31) / 32 * sizeof *words);
        for (const Piece *piece = pieces + port->first; piece != pieces + port->first + port->count; piece++) {
            U64 x = piece->value;
            if (piece->bytes) memcpy(&x, place(piece, lane), piece->bytes), x >>= piece->at;
            if (piece->width < 64) x &= (U64(1) << piece->width) - 1;
            for (int done = 0; done < piece->width;) {
                const int low = piece->low + done, n = 32 - low % 32;
                words[low / 32] |= uint32_t(x >> done << low % 32);
                done += n;
            }
        }
    }
    // Sets an input, whose pieces are whole variables.
    void set(const Port *port, int lane, const uint32_t *words) {
        for (const Piece *piece = pieces + port->first; piece != pieces + port->first + port->count; piece++) {
            U64 x = 0;
            for (int done = 0; done < piece->width;) {
                const int low = piece->low + done, n = 32 - low % 32;
                x |= U64(words[low / 32] >> low % 32) << done;
                done += n;
            }
            if (piece->width < 64) x &= (U64(1) << piece->width) - 1;
            memcpy(place(piece, lane), &x, piece->bytes);
        }
    }
    // A port of one bit that all lanes share.
    uint8_t *flag(const char *name) { return reinterpret_cast<uint8_t *>(place(pieces + find(name)->first, 0)); }

private:
    char *place(const Piece *piece, int lane) const {
        if (!piece->vector) return reinterpret_cast<char *>(shared) + piece->offset;
        return reinterpret_cast<char *>(blocks + lane / BLOCK) + piece->offset + lane % BLOCK * piece->bytes;
    }
    static void *allocate(size_t size) {
        size = (size + 63) / 64 * 64;
        void *memory = aligned_alloc(64, size);
        if (!memory) throw std::bad_alloc();
        return memset(memory, 0, size);
    }
};
