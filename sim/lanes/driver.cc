// Drives the three streams of one core, many lanes at once: one call simulates many cycles.
//
// All state of a run that the caller may read or change is in `Streams` (mirrored in sim/lanes/engine.py).
// Payloads are arrays of records of ceil(width / 32) little-endian uint32 words.
#include "simulator.h"

struct Streams {
    // Records offered to the core, the same to all lanes, and how many of them it has taken.
    const uint32_t *load;
    uint64_t load_count, load_done;
    // Pixels offered: of picture `lane` of the present batch to each lane. Counts are those of one lane.
    const uint32_t *pixels;             // [batch][lane][pixel]
    uint64_t picture_pixels, pixels_count, pixels_done;
    // Records taken from the core; cycles[i] is its `cycles` port when logit i of a lane was taken.
    uint32_t *logits, *cycles;          // [batch][lane][logit], [batch][logit]
    uint64_t picture_logits, logits_count, logits_done;
    // Trace records {logits_done, group, data words of every lane}; none when trace_capacity is 0.
    uint32_t *trace;
    uint64_t trace_capacity, trace_count;
    uint64_t lanes;                     // that carry pictures
    // Chance, in units of 2**-32, that a cycle brings no new pixel, or that logits are not taken in it.
    uint32_t pixels_gap, logits_gap;
    uint64_t random;        // state of the generator behind the gaps
    uint64_t cycle;         // cycles simulated since the simulator was made
    uint32_t undefined, undefined_use;      // origin of an undefined value that was used in `cycle`, and its user; else 0
};

struct Core : Simulator {
    const Port *load = find("load__payload"), *pixels = find("pixels__payload"), *logits = find("logits__payload"),
               *cycles = find("cycles"), *group = find("trace__group"), *data = find("trace__data");
    uint8_t *load_valid = flag("load__valid"), *load_ready = flag("load__ready"),
            *pixels_valid = flag("pixels__valid"), *pixels_ready = flag("pixels__ready"),
            *logits_valid = flag("logits__valid"), *logits_ready = flag("logits__ready"),
            *trace_valid = flag("trace__valid");
    const Port *undefined = find("undefined"), *undefined_use = find("undefined_use");      // where they are followed
};

static int words(const Port *port) { return (port->width + 31) / 32; }

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Core *uniqore_open() { return new Core; }
EXPORT void uniqore_close(Core *core) { delete core; }
EXPORT void uniqore_use_lanes(Core *core, int lanes) { core->use_lanes(lanes); }
// uint32 words of the data of one lane in a trace record.
EXPORT int uniqore_trace_words(Core *core) { return words(core->data); }

// Simulates up to `max_cycles` cycles; returns early when every record has been taken and given, when the trace buffer
// is full, or when an undefined value is used.
EXPORT void uniqore_run(Core *core, Streams *s, uint64_t max_cycles) {
    const int lanes = int(s->lanes);
    auto chance = [s](uint32_t gap) {       // xorshift64*: true unless this cycle is a gap
        if (!gap) return true;
        s->random ^= s->random >> 12;
        s->random ^= s->random << 25;
        s->random ^= s->random >> 27;
        return uint32_t((s->random * 0x2545F4914F6CDD1Dull) >> 32) >= gap;
    };

    for (uint64_t end = s->cycle + max_cycles; s->cycle < end; s->cycle++) {
        if (s->load_done == s->load_count && s->logits_done == s->logits_count) break;
        if (s->undefined || (s->trace_capacity && s->trace_count == s->trace_capacity)) break;

        *core->load_valid = s->load_done < s->load_count;
        if (*core->load_valid) core->set(core->load, 0, s->load + s->load_done * words(core->load));
        if (!*core->pixels_valid && s->pixels_done < s->pixels_count && chance(s->pixels_gap)) {
            const uint64_t first = s->pixels_done / s->picture_pixels * lanes, at = s->pixels_done % s->picture_pixels;
            for (int lane = 0; lane < lanes; lane++)
                core->set(core->pixels, lane,
                          s->pixels + ((first + lane) * s->picture_pixels + at) * words(core->pixels));
            *core->pixels_valid = true;
        }
        *core->logits_ready = s->logits_done < s->logits_count && chance(s->logits_gap);

        steps[0](core->shared, core->blocks, core->end);

        if (core->undefined) {
            core->get(core->undefined, 0, &s->undefined);
            if (s->undefined) {
                core->get(core->undefined_use, 0, &s->undefined_use);
                break;
            }
        }

        if (s->trace_capacity && *core->trace_valid) {
            uint32_t *record = s->trace + (2 + uint64_t(lanes) * words(core->data)) * s->trace_count++;
            record[0] = uint32_t(s->logits_done);
            core->get(core->group, 0, record + 1);
            for (int lane = 0; lane < lanes; lane++) core->get(core->data, lane, record + 2 + lane * words(core->data));
        }
        if (*core->load_valid && *core->load_ready) s->load_done++;
        if (*core->pixels_valid && *core->pixels_ready) {
            s->pixels_done++;
            *core->pixels_valid = false;
        }
        if (*core->logits_ready && *core->logits_valid) {
            const uint64_t first = s->logits_done / s->picture_logits * lanes, at = s->logits_done % s->picture_logits;
            for (int lane = 0; lane < lanes; lane++)
                core->get(core->logits, lane,
                          s->logits + ((first + lane) * s->picture_logits + at) * words(core->logits));
            core->get(core->cycles, 0, s->cycles + s->logits_done++);
        }
    }
}
