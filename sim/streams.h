// Drives the three streams of one core, inside C++: one call simulates many cycles.
//
// A driver brings a simulator of the core and what `run_streams` needs of it. This file knows streams, payload words
// and cycles; what a payload means is the caller's business (sim/payload.py).
#pragma once
#include <cstdint>

// All state of a run that the caller may read or change (mirrored in sim/cxxrtl.py). Payloads are arrays of records of
// ceil(width / 32) little-endian uint32 words.
struct Streams {
    // Records offered to the core, and how many of them it has taken.
    const uint32_t *load;
    uint64_t load_count, load_done;
    const uint32_t *pixels;
    uint64_t pixels_count, pixels_done;
    // Records taken from the core; cycles[i] is its `cycles` port when logit i was taken.
    uint32_t *logits, *cycles;
    uint64_t logits_count, logits_done;
    // Trace records {logits_done, group, data words}; none when trace_capacity is 0.
    uint32_t *trace;
    uint64_t trace_capacity, trace_count;
    // Chance, in units of 2**-32, that a cycle brings no new pixel, or that logits are not taken in it.
    uint32_t pixels_gap, logits_gap;
    uint64_t random;        // state of the generator behind the gaps
    uint64_t cycle;         // cycles simulated since the simulator was made
};

// Simulates up to `max_cycles` cycles; returns early when every record has been taken and given, or when the trace
// buffer is full. `Simulator` has
//     bool pixel_offered          false at first, this function's own
//     a function for each port    of the port's name with one underscore (load_payload), which returns it
//     set(port, bool), get(port), port_words(port), read_record(port, record), write_record(port, record)
//     clock(cycle, observe)       a clock cycle; calls observe() with the outputs as they are before the rising edge
template <class Simulator>
void run_streams(Simulator &sim, Streams *s, uint64_t max_cycles) {
    auto chance = [s](uint32_t gap) {       // xorshift64*: true unless this cycle is a gap
        if (!gap) return true;
        s->random ^= s->random >> 12;
        s->random ^= s->random << 25;
        s->random ^= s->random >> 27;
        return uint32_t((s->random * 0x2545F4914F6CDD1Dull) >> 32) >= gap;
    };
    const size_t load_words = sim.port_words(sim.load_payload());
    const size_t pixels_words = sim.port_words(sim.pixels_payload());
    const size_t logits_words = sim.port_words(sim.logits_payload());
    const size_t trace_words = 2 + sim.port_words(sim.trace_data());

    for (uint64_t end = s->cycle + max_cycles; s->cycle < end; s->cycle++) {
        if (s->load_done == s->load_count && s->logits_done == s->logits_count) break;
        if (s->trace_capacity && s->trace_count == s->trace_capacity) break;

        const bool load_valid = s->load_done < s->load_count;
        if (load_valid) sim.read_record(sim.load_payload(), s->load + load_words * s->load_done);
        sim.set(sim.load_valid(), load_valid);

        if (!sim.pixel_offered && s->pixels_done < s->pixels_count && chance(s->pixels_gap)) {
            sim.read_record(sim.pixels_payload(), s->pixels + pixels_words * s->pixels_done);
            sim.pixel_offered = true;
        }
        sim.set(sim.pixels_valid(), sim.pixel_offered);

        const bool logits_ready = s->logits_done < s->logits_count && chance(s->logits_gap);
        sim.set(sim.logits_ready(), logits_ready);

        sim.clock(s->cycle, [&] {
            if (s->trace_capacity && sim.get(sim.trace_valid())) {
                uint32_t *record = s->trace + trace_words * s->trace_count++;
                record[0] = uint32_t(s->logits_done);
                sim.write_record(sim.trace_group(), record + 1);
                sim.write_record(sim.trace_data(), record + 2);
            }
            if (load_valid && sim.get(sim.load_ready())) s->load_done++;
            if (sim.pixel_offered && sim.get(sim.pixels_ready())) {
                s->pixels_done++;
                sim.pixel_offered = false;
            }
            if (logits_ready && sim.get(sim.logits_valid())) {
                sim.write_record(sim.logits_payload(), s->logits + logits_words * s->logits_done);
                sim.write_record(sim.cycles(), s->cycles + s->logits_done);
                s->logits_done++;
            }
        });
    }
}
