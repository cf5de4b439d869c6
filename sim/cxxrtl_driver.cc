// The core as yosys' `write_cxxrtl` makes it of the RTL, behind the streams of streams.h, with waveforms on request, and
// behind the inspector's functions (sim/inspector.py).
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "core.cc"
#include <cxxrtl/cxxrtl_vcd.h>

#include "cxxrtl_sdram.h"
#include "streams.h"

namespace {

template <size_t Bits>
const value<Bits> &current(const value<Bits> &port) { return port; }
template <size_t Bits>
const value<Bits> &current(const wire<Bits> &port) { return port.curr; }

template <class Port>
void write_record(const Port &port, uint32_t *to) { memcpy(to, current(port).data, sizeof current(port).data); }
template <size_t Bits>
void read_record(value<Bits> &port, const uint32_t *from) { memcpy(port.data, from, sizeof port.data); }

}  // namespace

struct Core {
    cxxrtl_design::p_core core;
    bool pixel_offered = false;
    CxxrtlSdram<cxxrtl_design::p_core> sdram{core};
    debug_items items;
    vcd_writer vcd;
    FILE *vcd_file = nullptr;

    static constexpr uint64_t load_words = decltype(core.p_load____payload)::chunks,
                              pixels_words = decltype(core.p_pixels____payload)::chunks;
    const uint64_t logits_words = current(core.p_logits____payload).chunks,
                   data_words = current(core.p_trace____data).chunks;

    ~Core() {
        if (vcd_file) fclose(vcd_file);
    }
    void load(bool valid, const uint32_t *record) {
        core.p_load____valid.set(valid);
        if (valid) read_record(core.p_load____payload, record);
    }
    void pixels(int, const uint32_t *record) { read_record(core.p_pixels____payload, record); }
    void pixels_valid(bool valid) { core.p_pixels____valid.set(valid); }
    void logits_ready(bool ready) { core.p_logits____ready.set(ready); }
    template <class Observe>
    void clock(uint64_t cycle, Observe observe) {
        core.p_clk.set(false);
        core.step();
        sample(10 * cycle);
        observe();
        core.p_clk.set(true);
        core.step();
        if (vcd_file) core.step();      // combinational logic after the new register values
        sample(10 * cycle + 5);
    }
    bool load_ready() const { return bool(current(core.p_load____ready)); }
    bool pixels_ready() const { return bool(current(core.p_pixels____ready)); }
    bool logits_valid() const { return bool(current(core.p_logits____valid)); }
    bool trace_valid() const { return bool(current(core.p_trace____valid)); }
    bool whole() const { return bool(current(core.p_whole)); }
    bool damaged() const { return bool(current(core.p_damaged)); }
    void logits(int, uint32_t *record) const { write_record(core.p_logits____payload, record); }
    void cycles(uint32_t *record) const { write_record(core.p_cycles, record); }
    void group(uint32_t *record) const { write_record(core.p_trace____group, record); }
    void data(int, uint32_t *record) const { write_record(core.p_trace____data, record); }
    void undefined(Streams *) const {}

private:
    void sample(uint64_t time) {
        if (!vcd_file) return;
        vcd.sample(time);
        fwrite(vcd.buffer.data(), 1, vcd.buffer.size(), vcd_file);
        vcd.buffer.clear();
    }
};

EXPORT Core *uniqore_open(const char *vcd_path) {
    Core *core = new Core;
    if (!vcd_path) return core;
    core->vcd_file = fopen(vcd_path, "wb");
    if (!core->vcd_file) {
        delete core;
        return nullptr;
    }
    core->core.debug_info(&core->items, nullptr, "core ");
    core->vcd.timescale(100, "ns");      // 1 us a cycle
    core->vcd.add_without_memories(core->items);
    return core;
}
EXPORT void uniqore_close(Core *core) { delete core; }
EXPORT int uniqore_lanes() { return 1; }
EXPORT void uniqore_use_lanes(Core *, int) {}
EXPORT Sdram *uniqore_sdram(Core *core) { return core->sdram.chip(); }
EXPORT int uniqore_data_words(Core *core) { return int(core->data_words); }
EXPORT const char *uniqore_note(uint32_t) { return ""; }
EXPORT void uniqore_run(Core *core, Streams *streams, uint64_t max_cycles) { run_streams(*core, streams, max_cycles); }

// The inspector's functions: every wire that CXXRTL knows, its name with dots.
struct Inspected {
    cxxrtl_design::p_core core;
    debug_items items;
    std::vector<std::pair<std::string, const std::vector<debug_item> *>> ports;

    Inspected() {
        core.debug_info(&items, nullptr, "");
        for (auto &item : items.table) {
            std::string name = item.first;
            for (char &letter : name)
                if (letter == ' ') letter = '.';
            if (item.second[0].type != CXXRTL_MEMORY) ports.emplace_back(name, &item.second);
        }
        core.step();
    }
};

EXPORT Inspected *uniqore_inspect() { return new Inspected; }
EXPORT void uniqore_end_inspection(Inspected *inspected) { delete inspected; }
EXPORT int uniqore_port_count(Inspected *inspected) { return int(inspected->ports.size()); }
EXPORT const char *uniqore_port_name(Inspected *inspected, int port) { return inspected->ports[port].first.c_str(); }
EXPORT int uniqore_port_width(Inspected *inspected, int port) {
    int width = 0;
    for (const debug_item &part : *inspected->ports[port].second) width += int(part.width);
    return width;
}
EXPORT void uniqore_step(Inspected *inspected, int) {
    inspected->core.p_clk.set(false);
    inspected->core.step();
    inspected->core.p_clk.set(true);
    inspected->core.step();
}
EXPORT void uniqore_get(Inspected *inspected, int port, int, uint32_t *words) {
    memset(words, 0, (uniqore_port_width(inspected, port) + 31) / 32 * sizeof *words);
    for (const debug_item &part : *inspected->ports[port].second) {
        if (part.outline) part.outline->eval();
        for (size_t k = 0; k < part.width; k++) {
            const size_t at = part.lsb_at + k;
            words[at / 32] |= (part.curr[k / 32] >> k % 32 & 1) << at % 32;
        }
    }
}
EXPORT void uniqore_set(Inspected *inspected, int port, int, const uint32_t *words) {
    const debug_item &item = inspected->ports[port].second->front();
    memcpy(item.next, words, (item.width + 31) / 32 * sizeof *words);
}
