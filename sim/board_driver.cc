// Drives the pins of a whole board: bytes into its UART receiver, bytes out of its transmitter, as an adapter would.
//
// All state that the caller may read or change is in `Line` (mirrored in sim/board.py).
#include <cstdint>

#include "simulator.h"

namespace {

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

struct Board : Simulator {
    uint8_t *rx = flag("rx"), *tx = flag("tx");
    const Port *leds = find("leds");
    uint32_t shift = 0, left = 0;       // bits still to be sent, lowest first
    double send_until = 0;
    uint32_t taken = 0, bit = 0;        // bits of a byte from the board; `bit` counts them, 0 outside a byte
    double sample_at = 0;
};

EXPORT Board *uniqore_board_open() {
    Board *board = new Board;
    *board->rx = 1;
    return board;
}

EXPORT void uniqore_board_close(Board *board) { delete board; }

// Simulates `cycles` cycles; returns early when `out` is full.
EXPORT void uniqore_board_run(Board *board, Line *line, uint64_t cycles) {
    for (uint64_t end = line->cycle + cycles; line->cycle < end && line->out_count < line->out_capacity; line->cycle++) {
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
        steps[0](board->shared, board->blocks, board->end);
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
