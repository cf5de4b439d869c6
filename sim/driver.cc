// Drives the three streams of one core, inside C++: one call simulates many cycles.
//
// The core is what yosys' `write_cxxrtl` generates from the RTL: as it is, in core.cc, for waveforms, else
// made faster by sim/two_state.py. This file knows streams, payload words and cycles; what a payload means is
// the caller's business (sim/payload.py).
//
// All state of a run that the caller may read or change is in `Streams` (mirrored in sim/cxxrtl.py).
// Payloads are arrays of records of ceil(width / 32) little-endian uint32 words.
#include <cstdint>
#include <cstdio>
#include <cstring>

#ifdef WAVEFORMS
#include "core.cc"
#include <cxxrtl/cxxrtl_vcd.h>
using Core = cxxrtl_design::p_core;
#else
#include "core.h"
#endif

namespace {

using cxxrtl_yosys::value;
using cxxrtl_yosys::wire;

template <size_t Bits>
const value<Bits> &current(const value<Bits> &port) { return port; }
template <size_t Bits>
const value<Bits> &current(const wire<Bits> &port) { return port.curr; }

template <size_t Bits>
void write_record(const value<Bits> &from, uint32_t *to) {
    std::memcpy(to, from.data, sizeof from.data);
}
template <size_t Bits>
void read_record(value<Bits> &to, const uint32_t *records, uint64_t index) {
    std::memcpy(to.data, records + index * value<Bits>::chunks, sizeof to.data);
}

}  // namespace

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

struct Simulator {
    Core core;
    bool pixel_offered = false;
#ifdef WAVEFORMS
    cxxrtl_yosys::debug_items items;
    cxxrtl_yosys::vcd_writer vcd;
    FILE *file = nullptr;

    void sample(uint64_t time) {
        vcd.sample(time);
        fwrite(vcd.buffer.data(), 1, vcd.buffer.size(), file);
        vcd.buffer.clear();
    }
#endif

    // One clock cycle. `observe` sees the outputs as they are just before the rising edge.
    template <class Observe>
    void clock(uint64_t cycle, Observe observe) {
#ifdef WAVEFORMS
        core.p_clk.set(false);
        core.step();
        sample(10 * cycle);
        observe();
        core.p_clk.set(true);
        core.step();
        core.step();        // combinational logic after the new register values
        sample(10 * cycle + 5);
#else
        (void)cycle;
        core.eval();
        observe();
        core.commit();
#endif
    }
};

constexpr size_t trace_words = 2 + (decltype(Simulator::core.p_trace____data)::bits + 31) / 32;

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Simulator *uniqore_open(const char *vcd_path) {
    Simulator *sim = new Simulator;
#ifdef WAVEFORMS
    sim->file = fopen(vcd_path, "wb");
    if (!sim->file) {
        delete sim;
        return nullptr;
    }
    sim->core.debug_info(&sim->items, nullptr, "core ");
    sim->vcd.timescale(100, "ns");      // 1 us a cycle
    sim->vcd.add_without_memories(sim->items);
#else
    (void)vcd_path;
#endif
    return sim;
}

EXPORT void uniqore_close(Simulator *sim) {
#ifdef WAVEFORMS
    fclose(sim->file);
#endif
    delete sim;
}

// uint32 words of one trace record.
EXPORT uint32_t uniqore_trace_words() { return trace_words; }

// Simulates up to `max_cycles` cycles; returns early when every record has been taken and given, or when the
// trace buffer is full.
EXPORT void uniqore_run(Simulator *sim, Streams *s, uint64_t max_cycles) {
    auto &core = sim->core;
    auto chance = [s](uint32_t gap) {       // xorshift64*: true unless this cycle is a gap
        if (!gap) return true;
        s->random ^= s->random >> 12;
        s->random ^= s->random << 25;
        s->random ^= s->random >> 27;
        return uint32_t((s->random * 0x2545F4914F6CDD1Dull) >> 32) >= gap;
    };

    for (uint64_t end = s->cycle + max_cycles; s->cycle < end; s->cycle++) {
        if (s->load_done == s->load_count && s->logits_done == s->logits_count) break;
        if (s->trace_capacity && s->trace_count == s->trace_capacity) break;

        const bool load_valid = s->load_done < s->load_count;
        if (load_valid) read_record(core.p_load____payload, s->load, s->load_done);
        core.p_load____valid.set(load_valid);

        if (!sim->pixel_offered && s->pixels_done < s->pixels_count && chance(s->pixels_gap)) {
            read_record(core.p_pixels____payload, s->pixels, s->pixels_done);
            sim->pixel_offered = true;
        }
        core.p_pixels____valid.set(sim->pixel_offered);

        const bool logits_ready = s->logits_done < s->logits_count && chance(s->logits_gap);
        core.p_logits____ready.set(logits_ready);

        sim->clock(s->cycle, [&] {
            if (s->trace_capacity && current(core.p_trace____valid)) {
                uint32_t *record = s->trace + trace_words * s->trace_count++;
                record[0] = uint32_t(s->logits_done);
                write_record(current(core.p_trace____group), record + 1);
                write_record(current(core.p_trace____data), record + 2);
            }
            if (load_valid && current(core.p_load____ready)) s->load_done++;
            if (sim->pixel_offered && current(core.p_pixels____ready)) {
                s->pixels_done++;
                sim->pixel_offered = false;
            }
            if (logits_ready && current(core.p_logits____valid)) {
                const auto &payload = current(core.p_logits____payload);
                write_record(payload, s->logits + payload.chunks * s->logits_done);
                write_record(current(core.p_cycles), s->cycles + s->logits_done);
                s->logits_done++;
            }
        });
    }
}
