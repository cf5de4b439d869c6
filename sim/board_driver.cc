// Drives the pins of a whole board: bytes into its UART receiver, bytes out of its transmitter, as an adapter would.
//
// All state that the caller may read or change is in `Line` (mirrored in sim/board.py).
#include <cstdint>

#include "core.h"

namespace {

using cxxrtl_yosys::value;
using cxxrtl_yosys::wire;

template <size_t Bits>
uint32_t current(const value<Bits> &port) { return port.data[0]; }
template <size_t Bits>
uint32_t current(const wire<Bits> &port) { return port.curr.data[0]; }

constexpr int bits = 10;        // start, 8 data, stop

}  // namespace

struct Line {
    double bit_cycles;          // the adapter's bit time, in cycles of the board
    // Bytes to the board, and how many of them are on the line or past it.
    const uint8_t *in;
    uint64_t in_count, in_done;
    // Bytes from the board; `out_capacity` is room for them.
    uint8_t *out;
    uint64_t out_capacity, out_count;
    uint64_t framing_errors;    // bytes from the board with a low stop bit
    uint64_t cycle, last_active;        // cycles simulated; the last one with anything on either line
    uint32_t leds;
};

struct Simulator {
    Core core;
    uint32_t shift = 0, left = 0;       // bits still to be sent, lowest first
    double send_until = 0;
    uint32_t taken = 0, bit = 0;        // bits of a byte from the board; `bit` counts them, 0 outside a byte
    double sample_at = 0;
};

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Simulator *uniqore_board_open() {
    Simulator *sim = new Simulator;
    sim->core.p_rx.set(true);
    return sim;
}

EXPORT void uniqore_board_close(Simulator *sim) { delete sim; }

// Simulates `cycles` cycles; returns early when `out` is full.
EXPORT void uniqore_board_run(Simulator *sim, Line *line, uint64_t cycles) {
    auto &core = sim->core;
    for (uint64_t end = line->cycle + cycles; line->cycle < end && line->out_count < line->out_capacity; line->cycle++) {
        const double now = double(line->cycle);
        if (now >= sim->send_until) {
            if (!sim->left && line->in_done < line->in_count) {
                sim->shift = uint32_t(line->in[line->in_done++]) << 1 | 1u << (bits - 1);
                sim->left = bits;
                sim->send_until = now;
            }
            core.p_rx.set(!sim->left || (sim->shift & 1));
            if (sim->left) {
                sim->send_until += line->bit_cycles;
                sim->shift >>= 1;
                sim->left--;
            }
        }
        core.eval();
        const uint32_t tx = current(core.p_tx);
        if (!sim->bit && !tx) {
            sim->bit = 1;
            sim->taken = 0;
            sim->sample_at = now + 1.5 * line->bit_cycles;
        } else if (sim->bit && now >= sim->sample_at) {
            sim->taken |= tx << (sim->bit - 1);
            sim->sample_at += line->bit_cycles;
            if (++sim->bit == bits) {
                sim->bit = 0;
                if (tx)
                    line->out[line->out_count++] = uint8_t(sim->taken);
                else
                    line->framing_errors++;
            }
        }
        if (sim->left || sim->bit || now < sim->send_until) line->last_active = line->cycle;
        core.commit();
    }
    line->leds = current(core.p_leds);
}
