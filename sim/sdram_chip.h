// An SDRAM chip of 32 MB, with the registers of a board's pads around it: 16 data pins, 4 banks of 8,192 rows of 512
// columns, CAS 3, bursts of one word. It says the same as sim/sdram_chip.py, of each cycle: of the first rule of its
// data sheet that is broken, too. What it does after that means nothing.
//
// A cycle of the port's clock: take `dq_i()` to the port, evaluate the design, give what its port shows to `clock()`.
// All that the caller may read or change is in `Sdram` (mirrored in sim/sdram.py).
#pragma once
#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

// Bits of a word that change by themselves.
struct SdramFlip {
    uint64_t cycle, address, mask;      // in that cycle, before its command
};

struct Sdram {
    // Cycles: of `accel.sdram.SdramTiming`.
    uint64_t rcd, rp, ras, rc, rfc, rrd, wr, mrd, refresh_interval, power_up;
    uint16_t *memory;                   // bank b, row r, column c is word (r * 4 + b) * 512 + c
    const SdramFlip *flips;             // in the order of their cycles
    uint64_t flip_count, flips_done;
    uint64_t cycle;                     // of the chip's pins, from 0: one behind the port's
    uint64_t commands[8];               // so far, by the levels of ras_n, cas_n and we_n, but no NOPs
    uint64_t violation_cycle;
    const char *rule;                   // that was broken first, none so far
    char what[128];
};

// What the port shows in a cycle.
struct SdramPins {
    uint32_t ras_n, cas_n, we_n, bank, address, dq_o, dq_oe;
};

class SdramChip : public Sdram {
public:
    SdramChip() : Sdram() {
        memory = static_cast<uint16_t *>(calloc(size_t(rows) * banks * columns, sizeof *memory));      // touched lazily
        if (!memory) throw std::bad_alloc();
    }
    ~SdramChip() { free(memory); }
    SdramChip(const SdramChip &) = delete;

    uint16_t dq_i() const { return pad_in; }

    void clock(const SdramPins &port) {
        for (; flips_done < flip_count && flips[flips_done].cycle <= cycle; flips_done++)
            memory[flips[flips_done].address] ^= uint16_t(flips[flips_done].mask);
        driving <<= 1;
        const unsigned command = pads.ras_n << 2 | pads.cas_n << 1 | pads.we_n;
        if (command != nop && !rule) execute(command);
        // Words that are read are at the pins from before their edge to after it.
        if (pads.dq_oe && driving >> (cas - 1) & 7) fail("bus contention", "dq is driven while the chip drives it");
        if (cycle >= overdue) fail("refresh", "more than %u refreshes are owed", postponed);
        pad_in = driving >> cas & 1 ? words[cycle % slots] : uint16_t(cycle * 0x9E37);         // noise where none is
        pads = port;
        cycle++;
    }

private:
    static constexpr unsigned banks = 4, rows = 8192, columns = 512, precharge_bit = 1u << 10, cas = 3;
    static constexpr unsigned postponed = 8, initial_refreshes = 8, slots = 8;
    static constexpr int64_t long_ago = INT64_MIN / 2;
    enum { mode, refresh, precharge, activate, write, read, burst_stop, nop };

    struct Bank {
        bool open = false;
        uint32_t row = 0;
        int64_t idle = long_ago, activated = long_ago, written = long_ago;     // `idle`: precharged from then on
    };
    Bank bank_states[banks];
    int64_t activated = long_ago, refreshed = long_ago, mode_set = long_ago;
    bool precharged_all = false, initialized = false;
    uint64_t owed_since = 0, overdue = UINT64_MAX;      // refreshes are paid up to the first, and too late at the other
    SdramPins pads{1, 1, 1, 0, 0, 0, 0};
    uint16_t pad_in = 0, words[slots] = {};             // words that are read, by the cycle that they are driven in
    uint32_t driving = 0;                               // bit k: a READ came k cycles ago

    void execute(unsigned command) {
        static const char *const names[] = {"MODE", "REFRESH", "PRECHARGE", "ACTIVATE", "WRITE", "READ", "BURST STOP"};
        const char *name = names[command];
        Bank &bank = bank_states[pads.bank];
        commands[command]++;
        wait("power-up", 0, power_up, name);
        wait("tRFC", refreshed, rfc, name);
        wait("tMRD", mode_set, mrd, name);
        if (command >= activate && command <= read && !initialized)
            fail("initialization", "%s before the mode is set", name);
        switch (command) {
        case mode:
            if (commands[refresh] < initial_refreshes)
                fail("initialization", "MODE after %llu refreshes, not %u", (unsigned long long)commands[refresh],
                     initial_refreshes);
            all_idle(name);
            if (pads.bank || pads.address != cas << 4)
                fail("mode", "bank %u, address %#06x: not a burst length of 1, sequential, CAS %u", pads.bank,
                     pads.address, cas);
            mode_set = int64_t(cycle);
            initialized = true;
            return paid_until(cycle);
        case refresh:
            if (!precharged_all) fail("initialization", "REFRESH before PRECHARGE of all banks");
            all_idle(name);
            refreshed = int64_t(cycle);
            if (initialized) paid_until(std::min(owed_since + refresh_interval, cycle));       // none ahead of time
            return;
        case precharge:
            for (Bank &each : bank_states)
                if (pads.address & precharge_bit || &each == &bank) close(each);
            precharged_all |= bool(pads.address & precharge_bit);
            return;
        case activate:
            if (bank.open) fail("bank state", "ACTIVATE of bank %u, whose row %u is open", pads.bank, bank.row);
            wait("tRP", bank.idle - int64_t(rp), rp, name);
            wait("tRC", bank.activated, rc, name);
            wait("tRRD", activated, rrd, name);
            bank.open = true;
            bank.row = pads.address;
            activated = bank.activated = int64_t(cycle);
            return;
        case write:
        case read:
            return access(command == write, name, bank);
        default:
            fail("command", "BURST STOP, of bursts of length 1");
        }
    }

    void access(bool writes, const char *name, Bank &bank) {
        const uint32_t column = pads.address & ~precharge_bit;
        if (!bank.open) fail("bank state", "%s in bank %u, none of whose rows is open", name, pads.bank);
        wait("tRCD", bank.activated, rcd, name);
        if (column >= columns) fail("address", "%s of column %u, of %u", name, column, columns);
        if (rule) return;
        uint16_t &word = memory[(bank.row * banks + pads.bank) * columns + column];
        if (writes) {
            if (!pads.dq_oe) fail("data", "WRITE without a word");
            word = uint16_t(pads.dq_o);
            bank.written = int64_t(cycle);
        } else {
            words[(cycle + cas) % slots] = word;
            driving |= 1;
        }
        if (pads.address & precharge_bit) close_at(bank, int64_t(cycle + (writes ? wr : 1)));
    }

    void close(Bank &bank) {
        if (bank.open) {
            wait("tWR", bank.written, wr, "PRECHARGE");
            close_at(bank, int64_t(cycle));
        } else if (!initialized) {
            bank.idle = int64_t(cycle + rp);            // in whatever state it was
        } else if (int64_t(cycle) < bank.idle) {
            fail("bank state", "PRECHARGE of bank %d, which is being precharged", int(&bank - bank_states));
        }
    }
    void close_at(Bank &bank, int64_t begin) {
        if (begin - bank.activated < int64_t(ras))
            fail("tRAS", "precharge of bank %d %lld cycles after its ACTIVATE, not %llu", int(&bank - bank_states),
                 (long long)(begin - bank.activated), (unsigned long long)ras);
        bank.open = false;
        bank.idle = begin + int64_t(rp);
    }

    void all_idle(const char *name) {
        for (const Bank &each : bank_states) {
            if (each.open)
                fail("bank state", "%s while row %u of bank %d is open", name, each.row, int(&each - bank_states));
            wait("tRP", each.idle - int64_t(rp), rp, name);
        }
    }
    void paid_until(uint64_t moment) {
        owed_since = moment;
        overdue = moment + (postponed + 1) * refresh_interval;
    }
    void wait(const char *broken, int64_t since, uint64_t cycles, const char *name) {
        if (int64_t(cycle) - since < int64_t(cycles))
            fail(broken, "%s of bank %u after %lld cycles, not %llu", name, pads.bank,
                 (long long)(int64_t(cycle) - since), (unsigned long long)cycles);
    }
    void fail(const char *broken, const char *format, ...) {
        if (rule) return;
        rule = broken;
        violation_cycle = cycle;
        va_list values;
        va_start(values, format);
        vsnprintf(what, sizeof what, format, values);
        va_end(values);
    }
};
