// A core of many lanes behind the streams of sim/streams.h.
#include "sdram_port.h"
#include "simulator.h"
#include "streams.h"

struct Core : Simulator {
    const Port *load_port = find("load__payload"), *pixels_port = find("pixels__payload"),
               *logits_port = find("logits__payload"), *cycles_port = find("cycles"), *group_port = find("trace__group"),
               *data_port = find("trace__data");
    const Port *undefined_port = find("undefined"), *use_port = find("undefined_use");      // where they are followed
    uint8_t *load_valid_flag = flag("load__valid"), *load_ready_flag = flag("load__ready"),
            *pixels_valid_flag = flag("pixels__valid"), *pixels_ready_flag = flag("pixels__ready"),
            *logits_valid_flag = flag("logits__valid"), *logits_ready_flag = flag("logits__ready"),
            *trace_valid_flag = flag("trace__valid"), *whole_flag = flag("whole"), *damaged_flag = flag("damaged");
    const uint64_t load_words = words(load_port), pixels_words = words(pixels_port), logits_words = words(logits_port),
                   data_words = words(data_port);
    bool pixel_offered = false;
    SdramPort sdram{*this};

    void load(bool valid, const uint32_t *record) {
        *load_valid_flag = valid;
        if (valid) set(load_port, 0, record);
    }
    void pixels(int lane, const uint32_t *record) { set(pixels_port, lane, record); }
    void pixels_valid(bool valid) { *pixels_valid_flag = valid; }
    void logits_ready(bool ready) { *logits_ready_flag = ready; }
    template <class Observe>
    void clock(uint64_t, Observe observe) {
        steps[0](shared, blocks, end);          // outputs stay as they were before the edge
        observe();
    }
    bool load_ready() const { return *load_ready_flag; }
    bool pixels_ready() const { return *pixels_ready_flag; }
    bool logits_valid() const { return *logits_valid_flag; }
    bool trace_valid() const { return *trace_valid_flag; }
    bool whole() const { return *whole_flag; }
    bool damaged() const { return *damaged_flag; }
    void logits(int lane, uint32_t *record) const { get(logits_port, lane, record); }
    void cycles(uint32_t *record) const { get(cycles_port, 0, record); }
    void group(uint32_t *record) const { get(group_port, 0, record); }
    void data(int lane, uint32_t *record) const { get(data_port, lane, record); }
    void undefined(Streams *s) const {
        if (!undefined_port) return;
        get(undefined_port, 0, &s->undefined);
        if (s->undefined) get(use_port, 0, &s->undefined_use);
    }

private:
    static uint64_t words(const Port *port) { return (port->width + 31) / 32; }
};

EXPORT Core *uniqore_open(const char *) { return new Core; }
EXPORT void uniqore_close(Core *core) { delete core; }
EXPORT void uniqore_use_lanes(Core *core, int lanes) { core->use_lanes(lanes); }
EXPORT Sdram *uniqore_sdram(Core *core) { return core->sdram.chip(); }
EXPORT int uniqore_data_words(Core *core) { return int(core->data_words); }
EXPORT void uniqore_run(Core *core, Streams *streams, uint64_t max_cycles) { run_streams(*core, streams, max_cycles); }
