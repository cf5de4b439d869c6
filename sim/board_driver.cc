// Drives the pins of a whole board: bytes into its UART receiver, bytes out of its transmitter, as an adapter would; and
// its two clocks, the host side's and the core's.
//
// Time is in cycles of the host side. Between two of its edges nothing changes at the pins, so of the core's edges only
// their order among them counts: `core_position` grows by `core_hz` a host cycle, and the core's clock rises whenever it
// has come to `host_hz`. Where that is when the host's clock rises too, they rise together.
//
// All state that the caller may read or change is in `Line` (mirrored in sim/board.py).
#include <cstdint>

#include "sdram_port.h"
#include "simulator.h"

namespace {

constexpr int bits = 10;        // start, 8 data, stop
enum { core_clock, host_clock, both_clocks };       // `CLOCK_SETS` of sim/board.py

}  // namespace

struct Line {
    double bit_cycles;          // the adapter's bit time, in cycles of the host side
    // The clocks' frequencies, in any unit; how far the core's cycle is, below host_hz.
    uint64_t core_hz, host_hz, core_position;
    // Bytes to the board, and how many of them are on the line or past it.
    const uint8_t *in;
    uint64_t in_count, in_done;
    // Bytes from the board; `out_capacity` is room for them.
    uint8_t *out;
    uint64_t out_capacity, out_count;
    uint64_t framing_errors;    // bytes from the board with a low stop bit
    uint64_t cycle, last_active;        // cycles simulated; the last one with anything on either line
    uint32_t leds, locked;              // while it is 0 the core's clock stands still
};

struct Board : Simulator {
    uint8_t *rx = flag("rx"), *tx = flag("tx"), *locked = flag("locked");
    const Port *leds = find("leds");
    SdramPort sdram{*this};             // its clock is the core's
    uint32_t shift = 0, left = 0;       // bits still to be sent, lowest first
    double send_until = 0;
    uint32_t taken = 0, bit = 0;        // bits of a byte from the board; `bit` counts them, 0 outside a byte
    double sample_at = 0;

    void step(int clocks) {
        if (clocks != host_clock) sdram.offer();
        steps[clocks](shared, blocks, end);     // outputs stay as they were before the edge
        if (clocks != host_clock) sdram.take();
    }

    // To the next edge of the host's clock, and that edge.
    void host_cycle(Line *line) {
        if (!line->locked) return step(host_clock);
        line->core_position += line->core_hz;
        for (; line->core_position > line->host_hz; line->core_position -= line->host_hz) step(core_clock);
        if (line->core_position < line->host_hz) return step(host_clock);
        line->core_position = 0;
        step(both_clocks);
    }
};

EXPORT Board *uniqore_board_open() {
    Board *board = new Board;
    *board->rx = 1;
    return board;
}

EXPORT void uniqore_board_close(Board *board) { delete board; }
EXPORT Sdram *uniqore_sdram(Board *board) { return board->sdram.chip(); }

// Simulates `cycles` cycles of the host side; returns early when `out` is full, or when a rule of the SDRAM is broken.
EXPORT void uniqore_board_run(Board *board, Line *line, uint64_t cycles) {
    const Sdram *sdram = board->sdram.chip();
    *board->locked = uint8_t(line->locked);
    for (uint64_t end = line->cycle + cycles; line->cycle < end && line->out_count < line->out_capacity; line->cycle++) {
        if (sdram && sdram->rule) break;
        const double now = double(line->cycle);
        if (now >= board->send_until) {
            if (!board->left && line->in_done < line->in_count) {
                board->shift = uint32_t(line->in[line->in_done++]) << 1 | 1u << (bits - 1);
                board->left = bits;
                board->send_until = now;
            }
            *board->rx = !board->left || (board->shift & 1);
            if (board->left) {
                board->send_until += line->bit_cycles;
                board->shift >>= 1;
                board->left--;
            }
        }
        board->host_cycle(line);
        const uint32_t tx = *board->tx;
        if (!board->bit && !tx) {
            board->bit = 1;
            board->taken = 0;
            board->sample_at = now + 1.5 * line->bit_cycles;
        } else if (board->bit && now >= board->sample_at) {
            board->taken |= tx << (board->bit - 1);
            board->sample_at += line->bit_cycles;
            if (++board->bit == bits) {
                board->bit = 0;
                if (tx)
                    line->out[line->out_count++] = uint8_t(board->taken);
                else
                    line->framing_errors++;
            }
        }
        if (board->left || board->bit || now < board->send_until) line->last_active = line->cycle;
    }
    board->get(board->leds, 0, &line->leds);
}
