// The streams of one core, as Verilator makes it from Verilog. A port is an integer, or an array of them where it is
// wider than 64 bits; double underscores in its name are written ___05F.
#include <cstring>

#include "Vcore.h"
#include "streams.h"

namespace {

struct Simulator {
    VerilatedContext context;
    Vcore core{&context};
    bool pixel_offered = false;

    auto &load_payload() { return core.load___05Fpayload; }
    auto &load_valid() { return core.load___05Fvalid; }
    auto &load_ready() { return core.load___05Fready; }
    auto &pixels_payload() { return core.pixels___05Fpayload; }
    auto &pixels_valid() { return core.pixels___05Fvalid; }
    auto &pixels_ready() { return core.pixels___05Fready; }
    auto &logits_payload() { return core.logits___05Fpayload; }
    auto &logits_valid() { return core.logits___05Fvalid; }
    auto &logits_ready() { return core.logits___05Fready; }
    auto &trace_valid() { return core.trace___05Fvalid; }
    auto &trace_group() { return core.trace___05Fgroup; }
    auto &trace_data() { return core.trace___05Fdata; }
    auto &cycles() { return core.cycles; }

    static void set(CData &port, bool to) { port = to; }
    static bool get(CData port) { return port; }
    template <class Port>
    static constexpr size_t port_words(const Port &) { return (sizeof(Port) + 3) / 4; }
    template <class Port>
    static void read_record(Port &to, const uint32_t *from) { std::memcpy(&to, from, sizeof to); }
    template <class Port>
    static void write_record(const Port &from, uint32_t *to) {
        to[port_words(from) - 1] = 0;       // a narrow port is only a part of its word
        std::memcpy(to, &from, sizeof from);
    }

    template <class Observe>
    void clock(uint64_t, Observe observe) {
        core.clk = 0;
        core.eval();
        observe();
        core.clk = 1;
        core.eval();
    }
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Simulator *uniqore_open(const char *) { return new Simulator; }

EXPORT void uniqore_close(Simulator *sim) { delete sim; }

// uint32 words of one trace record.
EXPORT uint32_t uniqore_trace_words() { return 2 + (sizeof Vcore::trace___05Fdata + 3) / 4; }

EXPORT void uniqore_run(Simulator *sim, Streams *streams, uint64_t max_cycles) {
    run_streams(*sim, streams, max_cycles);
}
