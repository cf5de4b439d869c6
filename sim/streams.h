// Drives the three streams of one core, inside C++: one call simulates many cycles.
//
// A driver brings a simulator of the core, `Core`, which carries a picture in each of its lanes (in one, for most). This
// file knows streams, payload words and cycles; what a payload means is the caller's business (sim/payload.py).
// Payloads are records of ceil(width / 32) little-endian uint32 words.
#pragma once
#include <cstdint>

#include "sdram_chip.h"

// All state of a run that the caller may read or change (mirrored in sim/compiled.py). Counts are those of one lane.
struct Streams {
    // Records offered to the core, the same to all lanes, and how many of them it has taken.
    const uint32_t *load;
    uint64_t load_count, load_done;
    // Pixels offered: of the present round of pictures, one to each lane.
    const uint32_t *pixels;             // [round][lane][pixel]
    uint64_t picture_pixels, pixels_count, pixels_done;
    // Records taken from the core; cycles[i] is its `cycles` port when logit i was taken.
    uint32_t *logits, *cycles;          // [round][lane][logit], [round][logit]
    uint64_t picture_logits, logits_count, logits_done;
    // Trace records {logits_done, group, data words of every lane}; none when trace_capacity is 0.
    uint32_t *trace;
    uint64_t trace_capacity, trace_count;
    uint64_t lanes;                     // that carry pictures
    // Chance, in units of 2**-32, that a cycle brings no new pixel, or that logits are not taken in it.
    uint32_t pixels_gap, logits_gap;
    uint64_t random;        // state of the generator behind the gaps
    uint64_t cycle;         // cycles simulated since the simulator was made
    // The core's ports of these names, in the last cycle.
    uint32_t whole, damaged;
    // Origin of an undefined value that was used in `cycle`, and its user (sim/lanes/undefined.py); else 0.
    uint32_t undefined, undefined_use;
};

// Simulates up to `max_cycles` cycles; returns early when every record has been taken and given and the net is whole or
// damaged, when it is damaged and no more of it is to be loaded, when the trace buffer is full, when an undefined value
// is used, or when a rule of the SDRAM chip is broken. `Core` has
//     load_words, pixels_words, logits_words, data_words      constants or members: uint32 words of these payloads
//     load(valid, record), pixels(lane, record), pixels_valid(valid), logits_ready(ready)     set inputs
//     clock(cycle, observe)           a clock cycle; calls observe() with the outputs as they are before the rising edge
//     load_ready(), pixels_ready(), logits_valid(), trace_valid(), whole(), damaged()         outputs, as are
//     logits(lane, record), cycles(record), group(record), data(lane, record)
//     sdram.offer(), sdram.take()     what the chip does in a cycle, and notes; sdram.chip()      its state, or none
//     undefined(streams)              notes an undefined value, if it knows of such
//     bool pixel_offered              false at first, this function's own
template <class Core>
void run_streams(Core &core, Streams *s, uint64_t max_cycles) {
    const uint64_t lanes = s->lanes;
    const Sdram *sdram = core.sdram.chip();
    auto chance = [s](uint32_t gap) {       // xorshift64*: true unless this cycle is a gap
        if (!gap) return true;
        s->random ^= s->random >> 12;
        s->random ^= s->random << 25;
        s->random ^= s->random >> 27;
        return uint32_t((s->random * 0x2545F4914F6CDD1Dull) >> 32) >= gap;
    };
    // Record number `done` of a lane, where each of its pictures has `of_picture`.
    auto place = [lanes](uint64_t done, uint64_t of_picture, uint64_t lane) {
        return (done / of_picture * lanes + lane) * of_picture + done % of_picture;
    };

    for (uint64_t end = s->cycle + max_cycles; s->cycle < end; s->cycle++) {
        if (s->load_done == s->load_count
            && (s->damaged || (s->whole && s->logits_done == s->logits_count))) break;
        if (s->undefined || (sdram && sdram->rule)) break;
        if (s->trace_capacity && s->trace_count == s->trace_capacity) break;

        const bool load_valid = s->load_done < s->load_count;
        core.load(load_valid, load_valid ? s->load + core.load_words * s->load_done : nullptr);
        if (!core.pixel_offered && s->pixels_done < s->pixels_count && chance(s->pixels_gap)) {
            for (uint64_t lane = 0; lane < lanes; lane++)
                core.pixels(lane, s->pixels + core.pixels_words * place(s->pixels_done, s->picture_pixels, lane));
            core.pixel_offered = true;
        }
        core.pixels_valid(core.pixel_offered);
        const bool logits_ready = s->logits_done < s->logits_count && chance(s->logits_gap);
        core.logits_ready(logits_ready);
        core.sdram.offer();

        core.clock(s->cycle, [&] {
            core.sdram.take();
            s->whole = core.whole();
            s->damaged = core.damaged();
            if (s->trace_capacity && core.trace_valid()) {
                uint32_t *record = s->trace + (2 + lanes * core.data_words) * s->trace_count++;
                record[0] = uint32_t(s->logits_done);
                core.group(record + 1);
                for (uint64_t lane = 0; lane < lanes; lane++) core.data(lane, record + 2 + lane * core.data_words);
            }
            if (load_valid && core.load_ready()) s->load_done++;
            if (core.pixel_offered && core.pixels_ready()) {
                s->pixels_done++;
                core.pixel_offered = false;
            }
            if (logits_ready && core.logits_valid()) {
                for (uint64_t lane = 0; lane < lanes; lane++)
                    core.logits(lane, s->logits
                                + core.logits_words * place(s->logits_done, s->picture_logits, lane));
                core.cycles(s->cycles + s->logits_done++);
            }
        });
        core.undefined(s);
        if (s->undefined) break;
    }
}

#define EXPORT extern "C" __attribute__((visibility("default")))
