/* A client of the board's UART protocol, written from docs/uart.md alone: it knows no other file of this project.

   client PORT FIRST-IMAGE FIRST-ANSWERS SECOND-IMAGE SECOND-ANSWERS
   client PORT FIRST-IMAGE FIRST-ANSWERS              for a board whose core is so slow that it answers with STALLED,
                                                      and for one with an SDRAM, which starts without a net

   Otherwise the board at PORT starts with the net of FIRST-IMAGE. An answers file is a number of pictures (4 bytes),
   then each picture's pixels as INFER wants them and its logits (4 bytes each), all little-endian. What the page says
   is tried out in the order of the page, a line each: "ok SENTENCE", or "WRONG page says SENTENCE, device did THAT",
   and 1 is the exit code. What cannot be tried out from here: framing errors, a PLL that has not locked, a memory that
   is faulty, and one that changes while a net is played from it. */

#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t byte;

enum { INFO = 0x01, STATUS = 0x02, RESET = 0x03, BEGIN_LOAD = 0x10, LOAD = 0x11, END_LOAD = 0x12, MEMORY_TEST = 0x13,
       INFER = 0x20, PIXELS = 0x21, ERROR = 0xFF };
enum { HEADER_CHECK = 1, VERSION, LENGTH, FRAME_CHECK, TIMEOUT, COMMAND, BUSY, NOT_LOADED, CONFIG, ORDER, IMAGE_CHECK,
       SIZES = 13, LOGITS, STALLED, DAMAGED, NO_MEMORY };
enum { MAX_PAYLOAD = 4096, MAX_FRAME = 9 + MAX_PAYLOAD + 4, MAX_PART = MAX_PAYLOAD - 4, CHUNK = 1024, WINDOW = 2,
       INFO_BYTES = 58, STATUS_BYTES = 38, BEGIN_BYTES = 20, END_BYTES = 18,
       PATIENCE = 900 };           /* seconds for an answer that must come, from a simulated board on a busy machine */

typedef struct { byte kind, sequence; unsigned length; byte payload[MAX_PAYLOAD]; } answer;

/* What is said, and the end */

static int wrongs;

static void check(int holds, const char *sentence, const char *did, ...)
{
    va_list arguments;
    if (holds) {
        printf("ok %s\n", sentence);
    } else {
        wrongs++;
        printf("WRONG page says %s, device did ", sentence);
        va_start(arguments, did);
        vprintf(did, arguments);
        va_end(arguments);
        printf("\n");
    }
    fflush(stdout);
}

static void stop(const char *why, const char *of)
{
    printf("WRONG %s %s\n", why, of);
    exit(1);
}

/* Numbers: "Byte order is little-endian everywhere" */

static uint64_t get(const byte *at, int bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | at[bytes];
    return value;
}

static byte *put(byte *at, uint64_t value, int bytes)
{
    for (; bytes--; value >>= 8)
        *at++ = (byte)value;
    return at;
}

static uint64_t random_bits(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15u;             /* xorshift64 */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static unsigned below(unsigned limit) { return (unsigned)((random_bits() >> 20) % limit); }

/* CRC-16/IBM-3740: 0x1021, from 0xFFFF, no reflection. swap: 1 takes the second byte of each two first */
static unsigned crc16_of(const byte *data, size_t count, size_t swap)
{
    unsigned crc = 0xFFFF;
    for (size_t i = 0; i < count; i++) {
        crc ^= (unsigned)data[i ^ swap] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1;
    }
    return crc;
}

static unsigned crc16(const byte *data, size_t count) { return crc16_of(data, count, 0); }

static uint32_t crc32(uint32_t before, const byte *data, size_t count)     /* CRC-32/ISO-HDLC; `before`: 0 to begin */
{
    uint32_t crc = ~before;
    while (count--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

static uint32_t rotated(uint32_t word, int by) { return word >> by | word << (32 - by); }

/* The first 32 bits behind the point of a number's square or cube root, which is below 16 */
static uint32_t root_bits(unsigned number, int cube)
{
    uint64_t root = 0;                                      /* times 2^32 */
    for (int bit = 36; bit-- > 0; ) {
        long double guess = (long double)(root | 1ull << bit) / 4294967296.0L;
        if (guess * guess * (cube ? guess : 1) <= number)
            root |= 1ull << bit;
    }
    return (uint32_t)root;
}

static void sha256(const byte *data, size_t count, byte *digest)
{
    uint32_t state[8], constants[64], words[64] = { 0 };
    unsigned primes = 0;
    for (unsigned number = 2; primes < 64; number++) {
        unsigned divisor = 2;
        while (number % divisor)
            divisor++;
        if (divisor == number) {
            if (primes < 8)
                state[primes] = root_bits(number, 0);
            constants[primes++] = root_bits(number, 1);
        }
    }
    for (size_t at = 0; at < count + 9; at += 64) {
        for (size_t i = 0; i < 64; i++) {
            size_t place = at + i, blocks = (count + 9 + 63) / 64;
            byte value = place < count ? data[place] : place == count ? 0x80
                         : place < 64 * blocks - 8 ? 0 : (byte)((uint64_t)count * 8 >> 8 * (64 * blocks - 1 - place));
            words[i / 4] = words[i / 4] << 8 | value;
        }
        for (int i = 16; i < 64; i++) {
            uint32_t a = words[i - 15], b = words[i - 2];
            words[i] = words[i - 16] + words[i - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3)
                       + (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        uint32_t v[8];
        memcpy(v, state, sizeof v);
        for (int i = 0; i < 64; i++) {
            uint32_t one = v[7] + (rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25))
                           + ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + words[i];
            uint32_t two = (rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22))
                           + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += one, v[0] = one + two;
        }
        for (int i = 0; i < 8; i++)
            state[i] += v[i];
    }
    for (int i = 0; i < 32; i++)
        digest[i] = (byte)(state[i / 4] >> 8 * (3 - i % 4));
}

/* Line */

static int port;

static void open_port(const char *path)
{
    struct termios mode;
    port = open(path, O_RDWR | O_NOCTTY);
    if (port < 0 || tcgetattr(port, &mode))
        stop("no port", path);
    mode.c_iflag = mode.c_oflag = mode.c_lflag = 0;
    mode.c_cflag = CS8 | CREAD | CLOCAL;                    /* 8 data bits, no parity, 1 stop bit, no flow control */
    mode.c_cc[VMIN] = 1, mode.c_cc[VTIME] = 0;              /* the rate: POSIX names none above 38400, a pty needs none */
    if (tcsetattr(port, TCSANOW, &mode))
        stop("no serial port", path);
}

static void send_bytes(const byte *data, size_t count)
{
    while (count) {
        ssize_t written = write(port, data, count);
        if (written < 0 && errno != EINTR)
            stop("write to the port:", strerror(errno));
        if (written > 0)
            data += written, count -= (size_t)written;
    }
}

static int next_byte(int milliseconds)                      /* -1: none came */
{
    struct pollfd one = { .fd = port, .events = POLLIN };
    byte value;
    int ready = poll(&one, 1, milliseconds);
    if (ready == 0)
        return -1;
    if (ready < 0 || read(port, &value, 1) != 1)
        stop("read from the port:", strerror(errno));
    return value;
}

static void pause_for(double seconds)
{
    struct timespec span = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&span, NULL);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Frame */

static size_t make_frame(byte *frame, int kind, int sequence, const void *payload, unsigned length)
{
    byte *at = put(frame, 0x5AA5, 2);
    at = put(put(put(put(at, 1, 1), (unsigned)kind, 1), (unsigned)sequence, 1), length, 2);
    at = put(at, crc16(frame + 2, 5), 2);
    if (length)
        memcpy(at, payload, length);
    put(at + length, crc32(crc32(0, frame + 2, 5), at, length), 4);
    return 9 + length + 4;
}

static void mend_header(byte *frame) { put(frame + 7, crc16(frame + 2, 5), 2); }

/* The next answer, whole and sound; 0: none began within `milliseconds`. Nothing else than answers may come. */
static int receive(answer *got, int milliseconds)
{
    byte frame[MAX_FRAME];
    size_t have = 0, want = 9;
    while (have < want) {
        int value = next_byte(have ? PATIENCE * 1000 : milliseconds);
        if (value < 0 && !have)
            return 0;
        if (value < 0)
            stop("an answer", "that breaks off");
        frame[have++] = (byte)value;
        if (have == 9) {
            if (get(frame, 2) != 0x5AA5 || frame[2] != 1 || crc16(frame + 2, 5) != get(frame + 7, 2)
                || get(frame + 5, 2) > MAX_PAYLOAD)
                stop("bytes that are no answer:", "page says \"Answers have the same frame\"");
            want = 9 + get(frame + 5, 2) + 4;
        }
    }
    if (crc32(crc32(0, frame + 2, 5), frame + 9, want - 13) != get(frame + want - 4, 4))
        stop("an answer's frame check fails:", "page says \"Answers have the same frame\"");
    got->kind = frame[3], got->sequence = frame[4], got->length = (unsigned)(want - 13);
    memcpy(got->payload, frame + 9, got->length);
    return 1;
}

static const char *told(const answer *got)                  /* an answer in words */
{
    static char text[80];
    if (got->kind == ERROR && got->length == 1)
        sprintf(text, "ERROR %d to sequence %d", got->payload[0], got->sequence);
    else
        sprintf(text, "answer %02X of %u bytes to sequence %d", got->kind, got->length, got->sequence);
    return text;
}

/* Counters, as the page predicts them: modulo 65536, since configuration, so they begin with a first STATUS. */

enum { FRAMES, IMAGES, HEADER_ERRORS, FRAME_ERRORS, TIMEOUTS, OVERRUNS, FRAMING_ERRORS, COUNTERS };
static const char *const counter_names[] = { "frames", "images", "header_errors", "frame_errors", "timeouts",
                                             "overruns", "framing_errors" };
static uint16_t expected[COUNTERS];

static int expected_damaged;                                /* Status.damaged: the last tape was found so */

typedef struct {
    uint16_t counters[COUNTERS], memory_errors;
    uint32_t load_next;
    byte tape[8], outstanding, loaded, damaged, locked, beats, memory_state;
} status;

static void read_status(const answer *got, status *now)
{
    const byte *at = got->payload;
    for (int i = 0; i < COUNTERS; i++)
        now->counters[i] = (uint16_t)get(at + 2 * i, 2);
    now->load_next = (uint32_t)get(at + 14, 4);
    memcpy(now->tape, at + 18, 8);
    now->outstanding = at[26], now->loaded = at[27], now->damaged = at[28], now->locked = at[29], now->beats = at[30];
    now->memory_state = at[31], now->memory_errors = (uint16_t)get(at + 32, 2);
}

static byte sequence;

/* Sends a command that will be whole, without a look at its answer. */
static void send_command(int kind, const void *payload, unsigned length)
{
    byte frame[MAX_FRAME];
    expected[FRAMES]++;
    send_bytes(frame, make_frame(frame, kind, ++sequence, payload, length));
}

static answer await(void)
{
    answer got;
    if (!receive(&got, PATIENCE * 1000))
        stop("no answer:", "page says \"Every other frame gets exactly one answer\"");
    return got;
}

static answer ask(int kind, const void *payload, unsigned length)
{
    send_command(kind, payload, length);
    return await();
}

static int is_error(const answer *got, int to, int code)
{
    return got->kind == ERROR && got->sequence == to && got->length == 1 && got->payload[0] == code;
}

static int is_answer(const answer *got, int kind, int to, unsigned length)
{
    return got->kind == (kind | 0x80) && got->sequence == to && got->length == length;
}

static void must_refuse(const char *sentence, int kind, const void *payload, unsigned length, int code)
{
    answer got = ask(kind, payload, length);
    check(is_error(&got, sequence, code), sentence, "%s", told(&got));
}

static answer must_do(const char *sentence, int kind, const void *payload, unsigned length, unsigned answer_length)
{
    answer got = ask(kind, payload, length);
    check(is_answer(&got, kind, sequence, answer_length), sentence, "%s", told(&got));
    return got;
}

static status ask_status(void)
{
    status now;
    answer got = ask(STATUS, NULL, 0);
    if (!is_answer(&got, STATUS, sequence, STATUS_BYTES))
        stop("STATUS, which is never refused, answered by", told(&got));
    read_status(&got, &now);
    return now;
}

/* One STATUS: all counters are what the page predicts, and so is the rest (-1: not looked at). */
static void check_status(const char *sentence, long load_next, int outstanding, int loaded)
{
    status now = ask_status();
    char did[300] = "";
    for (int i = 0; i < COUNTERS; i++)
        if (now.counters[i] != expected[i])
            sprintf(did + strlen(did), "%s %d for %d, ", counter_names[i], now.counters[i], expected[i]);
    if (load_next >= 0 && now.load_next != (unsigned long)load_next)
        sprintf(did + strlen(did), "load_next %lu for %ld, ", (unsigned long)now.load_next, load_next);
    if (outstanding >= 0 && now.outstanding != outstanding)
        sprintf(did + strlen(did), "outstanding %d for %d, ", now.outstanding, outstanding);
    if (loaded >= 0 && now.loaded != loaded)
        sprintf(did + strlen(did), "loaded %d for %d, ", now.loaded, loaded);
    if (now.damaged != expected_damaged)
        sprintf(did + strlen(did), "damaged %d for %d, ", now.damaged, expected_damaged);
    check(!*did, sentence, "%s", did);
    memcpy(expected, now.counters, sizeof expected);
}

/* The image file: a zip archive of stored members in NumPy's format */

typedef struct {
    byte config[8], net[8], name[8];
    unsigned n_logits, height, width, pixel_bytes, resident, pixels, batch;
    uint32_t chunks, bytes;
    byte *tape;
} image;

typedef struct { unsigned count; byte *data; size_t stride; } answers;     /* pictures, each with its logits */

static byte *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    byte *data = malloc(1 << 22);
    if (!file || !data)
        stop("no file", path);
    *size = fread(data, 1, 1 << 22, file);
    fclose(file);
    return data;
}

/* Content of a member, behind its .npy header; descr: its dtype as the header names it, count: its length. */
static const byte *member(const byte *zip, size_t size, const char *name, char *descr, unsigned *count)
{
    size_t end = size - 22;
    while (end && get(zip + end, 4) != 0x06054B50)          /* end of central directory */
        end--;
    const byte *entry = zip + get(zip + end + 16, 4);
    for (unsigned i = 0; i < get(zip + end + 10, 2); i++) {
        size_t name_bytes = get(entry + 28, 2);
        if (name_bytes == strlen(name) && !memcmp(entry + 46, name, name_bytes)) {
            const byte *local = zip + get(entry + 42, 4), *npy = local + 30 + get(local + 26, 2) + get(local + 28, 2);
            if (get(entry + 10, 2) != 0)
                stop("page says \"stored (not compressed)\", but compressed is", name);
            if (crc32(0, npy, get(entry + 20, 4)) != get(entry + 16, 4) || memcmp(npy, "\x93NUMPY", 6))
                stop("no NumPy array in the image:", name);
            size_t length_bytes = npy[6] == 1 ? 2 : 4, header_bytes = get(npy + 8, (int)length_bytes);
            char *header = calloc(header_bytes + 1, 1);
            memcpy(header, npy + 8 + length_bytes, header_bytes);
            const char *type = strstr(header, "'descr': '"), *shape = strstr(header, "'shape': (");
            if (!type || !shape || sscanf(type + 10, "%7[^']", descr) != 1)
                stop("an array's header without descr or shape:", header);
            if (sscanf(shape + 10, "%u", count) != 1)
                *count = 1;                                 /* shape () */
            free(header);
            return npy + 8 + length_bytes + header_bytes;
        }
        entry += 46 + name_bytes + get(entry + 30, 2) + get(entry + 32, 2);
    }
    stop("the image has no member", name);
    return NULL;
}

static const char *json_value(const char *json, const char *key)           /* of the outermost object */
{
    size_t key_length = strlen(key);
    int depth = 0;
    for (const char *at = json; *at; at++) {
        if (*at == '"') {
            const char *begin = at + 1;
            for (at++; *at && *at != '"'; at++)
                at += *at == '\\' && at[1];
            if (depth == 1 && at[1] == ':' && (size_t)(at - begin) == key_length && !memcmp(begin, key, key_length))
                return at + 2 + strspn(at + 2, " ");
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    }
    stop("the image's JSON has no", key);
    return NULL;
}

static void read_hex(const char *json, const char *key, byte *to)
{
    const char *digits = json_value(json, key);
    for (int i = 0; i < 8; i++) {
        unsigned value;
        if (sscanf(digits + 1 + 2 * i, "%2x", &value) != 1)
            stop("no hex digits:", key);
        to[i] = (byte)value;
    }
}

static void set_name(image *of)                             /* "the first 8 bytes of the SHA-256 of all its bytes" */
{
    byte digest[32];
    sha256(of->tape, of->bytes, digest);
    memcpy(of->name, digest, 8);
}

static void read_image(const char *path, image *to)
{
    size_t size;
    char descr[8];
    unsigned characters;
    byte *zip = read_file(path, &size);
    const byte *text = member(zip, size, "header.npy", descr, &characters);
    characters = (unsigned)atoi(descr + 2);
    char *json = calloc(characters + 1, 1);
    for (unsigned i = 0; i < characters; i++)
        json[i] = get(text + 4 * i, 4) < 128 ? (char)text[4 * i] : '?';
    if (strncmp(json_value(json, "format"), "\"uniqore-image-3\"", 17))
        stop("page says format is \"uniqore-image-3\", not so in", path);
    read_hex(json, "config_digest", to->config);
    read_hex(json, "net_digest", to->net);
    to->n_logits = (unsigned)atoi(json_value(json, "n_logits"));
    to->batch = (unsigned)atoi(json_value(json, "batch"));
    to->resident = json_value(json, "resident")[0] == 't';
    if (sscanf(json_value(json, "image_shape"), "[%u, %u]", &to->height, &to->width) != 2)
        stop("no image_shape in", path);
    to->pixels = to->height * to->width, to->pixel_bytes = 3 * to->pixels;
    const byte *tape = member(zip, size, "tape.npy", descr, &to->chunks);
    if (strcmp(descr, "<u2"))
        stop("page has another dtype for", "tape.npy");
    to->bytes = CHUNK * to->chunks, to->tape = malloc(to->bytes);
    memcpy(to->tape, tape, to->bytes);
    set_name(to);
    printf("ok %s: %u chunks, %sresident, %u logits of %u x %u pixels\n", path, to->chunks, to->resident ? "" : "not ",
           to->n_logits, to->height, to->width);
    free(json);
    free(zip);
}

static void read_answers(const char *path, const image *of, answers *to)
{
    size_t size;
    byte *data = read_file(path, &size);
    to->count = (unsigned)get(data, 4), to->data = data + 4;
    to->stride = of->pixel_bytes + 4 * of->n_logits;
    if (!to->count || size != 4 + to->count * to->stride)
        stop("pictures of another size than the image's in", path);
}

/* Commands in use */

static unsigned answer_bytes(const image *net) { return 4 * net->n_logits + 6; }

/* "logits (4 each, signed), class (2), cycles (4)" against the golden model's logits */
static int is_exact(const answer *got, int to, const image *net, const byte *wanted)
{
    unsigned best = 0;
    for (unsigned i = 1; i < net->n_logits; i++)
        if ((int32_t)get(wanted + 4 * i, 4) > (int32_t)get(wanted + 4 * best, 4))
            best = i;
    return is_answer(got, INFER, to, answer_bytes(net)) && !memcmp(got->payload, wanted, 4 * net->n_logits)
           && get(got->payload + 4 * net->n_logits, 2) == best && get(got->payload + 4 * net->n_logits + 2, 4) > 0;
}

/* All pictures, up to `window` on their way */
static void classify(const char *sentence, const image *net, const answers *known, unsigned window)
{
    unsigned sent = 0, exact = 0;
    byte first = sequence;
    for (unsigned done = 0; done < known->count; done++) {
        for (; sent < known->count && sent < done + window; sent++)
            send_command(INFER, known->data + sent * known->stride, net->pixel_bytes);
        answer got = await();
        exact += (unsigned)is_exact(&got, (byte)(first + done + 1), net,
                                    known->data + done * known->stride + net->pixel_bytes);
        expected[IMAGES]++;
    }
    check(exact == known->count, sentence, "%u of %u pictures", exact, known->count);
}

static void make_begin(byte *payload, const image *net)
{
    memcpy(payload, net->config, 8), memcpy(payload + 8, net->name, 8);
    put(payload + 16, net->chunks, 4);
}

static unsigned make_load(byte *payload, const image *net, uint32_t offset, unsigned bytes)
{
    memcpy(put(payload, offset, 4), net->tape + offset, bytes);
    return 4 + bytes;
}

static void make_end(byte *payload, const image *net)
{
    byte *at = put(put(payload, crc32(0, net->tape, net->bytes), 4), net->resident, 1);
    memcpy(at, net->net, 8);
    *put(put(at + 8, net->n_logits, 2), net->pixels, 2) = (byte)net->batch;
}

static answer ask_begin(const image *net)
{
    byte payload[BEGIN_BYTES];
    make_begin(payload, net);
    answer got = ask(BEGIN_LOAD, payload, BEGIN_BYTES);
    if (got.kind != ERROR)
        expected_damaged = 0;
    return got;
}

static void must_begin(const char *sentence, const image *net, uint32_t next)
{
    answer got = ask_begin(net);
    check(is_answer(&got, BEGIN_LOAD, sequence, 4) && get(got.payload, 4) == next, sentence, "%s, next %u", told(&got),
          (unsigned)get(got.payload, 4));
}

/* LOAD of what is missing from `offset` on, up to `window` on their way. Returns whether each was carried out, and else
   the first answer that says otherwise. */
static int load_rest(const image *net, uint32_t offset, unsigned part, unsigned window, answer *other)
{
    byte payload[MAX_PAYLOAD], first = sequence;
    unsigned sent = 0, holds = 1;
    for (unsigned done = 0; offset < net->bytes || done < sent; done++) {
        for (; holds && offset < net->bytes && sent < done + window; sent++) {
            unsigned bytes = net->bytes - offset < part ? net->bytes - offset : part;
            send_command(LOAD, payload, make_load(payload, net, offset, bytes));
            offset += bytes;
        }
        answer got = await();
        if (holds)
            *other = got;
        holds = holds && is_answer(&got, LOAD, (byte)(first + done + 1), 0);
        if (!holds && done + 1 == sent)
            break;
    }
    return (int)holds;
}

/* A whole load, from its beginning; its last answer. */
static answer try_load(const image *net, unsigned part, unsigned window)
{
    byte end[END_BYTES];
    answer got = ask_begin(net);
    uint32_t next = is_answer(&got, BEGIN_LOAD, sequence, 4) ? (uint32_t)get(got.payload, 4) : 1;
    if (next || !load_rest(net, 0, part, window, &got))
        return got;
    make_end(end, net);
    got = ask(END_LOAD, end, END_BYTES);
    expected_damaged = is_error(&got, sequence, IMAGE_CHECK);
    return got;
}

static void load_all(const char *sentence, const image *net, unsigned part, unsigned window)
{
    answer got = try_load(net, part, window);
    check(is_answer(&got, END_LOAD, sequence, 0), sentence, "%s", told(&got));
}

static image copy_of(const image *like, uint32_t chunks)    /* with a tape of its own, of random words behind like's */
{
    image net = *like;
    net.chunks = chunks, net.bytes = CHUNK * chunks, net.tape = malloc(net.bytes);
    for (uint32_t i = 0; i < net.bytes; i++)
        net.tape[i] = i < like->bytes ? like->tape[i] : (byte)random_bits();
    return net;
}

static void check_chunks(image *net)                        /* gives each chunk its check, and the tape its name */
{
    for (uint32_t chunk = 0; chunk < net->chunks; chunk++) {
        byte *words = net->tape + CHUNK * chunk;
        put(words + CHUNK - 2, crc16_of(words, CHUNK - 2, 1) ^ chunk, 2);
    }
    set_name(net);
}

/* INFO */

typedef struct {
    unsigned clock_hz, baud, sdram_bytes;
} device;

static device try_info(const image *net, int starts_with_it)
{
    static const byte example[] = { 0xA5, 0x5A, 1, 1, 7, 0, 0, 0x79, 0x48, 0x4D, 0xAF, 0xB1, 0x46 };
    static const byte odd[] = { 0, 1, 0x5A, 0x7F, 0x80, 0xA5, 0xFF };
    byte frame[MAX_FRAME];
    device is;
    check(make_frame(frame, INFO, 7, NULL, 0) == sizeof example && !memcmp(frame, example, sizeof example),
          "INFO with sequence 7 is A5 5A 01 01 07 00 00 79 48 4D AF B1 46", "not see that frame: the client is wrong");
    int repeated = 1;
    for (size_t i = 0; i < sizeof odd; i++) {
        sequence = (byte)(odd[i] - 1);
        answer got = ask(INFO, NULL, 0);
        repeated &= is_answer(&got, INFO, odd[i], INFO_BYTES);
    }
    check(repeated, "sequence is any number; the answer repeats it", "not");
    answer got = must_do("Info has 58 bytes", INFO, NULL, 0, INFO_BYTES);
    const byte *at = got.payload;
    check(at[0] == 1, "protocol is 1", "%d", at[0]);
    printf("   gateware %d.%d.%d\n", at[1], at[2], at[3]);
    check(!memcmp(at + 4, net->config, 8), "config is the configuration's that the net was compiled for", "not");
    is.clock_hz = (unsigned)get(at + 12, 4), is.baud = (unsigned)get(at + 16, 4);
    check(is.clock_hz >= 1000000 && is.baud >= 9600 && is.clock_hz >= is.baud, "clock_hz and baud are rates", "%u, %u",
          is.clock_hz, is.baud);
    int all = 1;
    for (int i = 20; i < 36; i += i < 26 ? 1 : 2)
        all &= get(at + i, i < 26 ? 1 : 2) > 0;
    check(all, "rows, channels, pixels_per_cycle, w_bits, a_bits, acc_bits and five depths", "a 0 among them");
    is.sdram_bytes = (unsigned)get(at + 36, 4);
    check(is.sdram_bytes % CHUNK == 0 && (net->resident || is.sdram_bytes >= net->bytes),
          "sdram_bytes, 0: there is none, and then the device's own memories hold the net", "%u", is.sdram_bytes);
    check(get(at + 40, 2) == MAX_PAYLOAD, "max_payload is 4096", "%u", (unsigned)get(at + 40, 2));
    check(at[42] == WINDOW, "window: two INFER may be on their way", "%d", at[42]);
    if (starts_with_it)
        check(at[43] == 1 && !memcmp(at + 44, net->net, 8) && get(at + 52, 2) == net->n_logits
              && get(at + 54, 2) == net->pixel_bytes, "loaded, net, n_logits, pixel_bytes are the loaded net's",
              "%d, .., %u, %u", at[43], (unsigned)get(at + 52, 2), (unsigned)get(at + 54, 2));
    return is;
}

/* Commands that are refused, whatever is loaded */

static void try_lengths(const device *is, const image *net)
{
    static byte payload[MAX_PAYLOAD];
    static const byte unknown[] = { 0x00, 0x04, 0x0F, 0x18, 0x22, 0x7F, 0x81, 0xA0, 0xFF };
    must_refuse("a payload where none is wanted is LENGTH (INFO)", INFO, payload, 1, LENGTH);
    must_refuse("a payload where none is wanted is LENGTH (STATUS)", STATUS, payload, 200, LENGTH);
    must_refuse("a payload where none is wanted is LENGTH (RESET)", RESET, payload, 1, LENGTH);
    must_refuse("bytes of payload, at most 4096: INFO of 4096 is LENGTH", INFO, payload, MAX_PAYLOAD, LENGTH);
    must_refuse("any other kind is answered by COMMAND, whatever its payload: 4096 bytes", 0x33, payload, MAX_PAYLOAD,
                COMMAND);
    int all = 1;
    for (size_t i = 0; i < sizeof unknown; i++) {
        answer got = ask(unknown[i], payload, (unsigned)i);
        all &= is_error(&got, sequence, COMMAND);
    }
    check(all, "any other kind is answered by COMMAND: 00 04 0F 18 22 7F 81 A0 FF", "not");
    must_refuse("INFER: LENGTH, of too few pixels", INFER, payload, net->pixel_bytes - 1, LENGTH);
    must_refuse("INFER: LENGTH, of too many pixels", INFER, payload, net->pixel_bytes + 1, LENGTH);
    must_refuse("INFER: LENGTH, of none", INFER, payload, 0, LENGTH);
    must_refuse("PIXELS: LENGTH, of no byte", PIXELS, payload, 2, LENGTH);
    must_refuse("PIXELS: LENGTH, of half an offset", PIXELS, payload, 1, LENGTH);
    must_refuse("a PIXELS with all that is missing is LENGTH", PIXELS, payload, 2 + net->pixel_bytes, LENGTH);
    must_refuse("or more", PIXELS, payload, 2 + net->pixel_bytes + 1, LENGTH);
    put(payload, 1, 2);
    must_refuse("PIXELS: LENGTH comes before ORDER", PIXELS, payload, 2 + net->pixel_bytes, LENGTH);
    must_refuse("PIXELS: ORDER, where the picture begins", PIXELS, payload, 3, ORDER);
    make_begin(payload, net);
    payload[7] ^= 1;
    must_refuse("BEGIN_LOAD: LENGTH comes before CONFIG", BEGIN_LOAD, payload, BEGIN_BYTES - 1, LENGTH);
    must_refuse("BEGIN_LOAD: LENGTH", BEGIN_LOAD, payload, BEGIN_BYTES + 1, LENGTH);
    must_refuse("BEGIN_LOAD: CONFIG", BEGIN_LOAD, payload, BEGIN_BYTES, CONFIG);
    put(payload + 16, 0, 4);
    must_refuse("BEGIN_LOAD: CONFIG comes before SIZES", BEGIN_LOAD, payload, BEGIN_BYTES, CONFIG);
    must_refuse("LOAD without BEGIN_LOAD is ORDER, which comes before LENGTH", LOAD, payload, 3, ORDER);
    must_refuse("END_LOAD without BEGIN_LOAD is ORDER, which comes before LENGTH", END_LOAD, payload, 3, ORDER);
    if (!is->sdram_bytes)
        must_refuse("MEMORY_TEST: NO_MEMORY, which comes before LENGTH", MEMORY_TEST, payload, 3, NO_MEMORY);
    check_status("a refused command counts in frames and leaves everything as it was", -1, 0, 1);
}

/* Loading */

static void check_refused_as_damaged(const image *net)
{
    byte picture[MAX_PAYLOAD] = { 0 };
    must_refuse("INFER: DAMAGED, which comes before LENGTH", INFER, picture, net->pixel_bytes - 1, DAMAGED);
    must_refuse("PIXELS: DAMAGED", PIXELS, picture, 3, DAMAGED);
    must_refuse("a load begins from nothing: LOAD is ORDER", LOAD, picture, 6, ORDER);
    must_refuse("a load begins from nothing: END_LOAD is ORDER", END_LOAD, picture, END_BYTES, ORDER);
    check_status("there is no net, and damaged is 1", -1, 0, 0);
}

static void try_loading(const device *is, const image *net, const answers *known)
{
    byte payload[MAX_PAYLOAD], begin[BEGIN_BYTES], end[END_BYTES], bad[END_BYTES];
    image other = copy_of(net, net->chunks);
    uint32_t next = 0;

    must_begin("BEGIN_LOAD of another tape: next is 0", net, 0);
    check_status("no net is loaded from now on", 0, 0, 0);
    check(!memcmp(ask_status().tape, net->name, 8), "tape: name of the load that goes on", "otherwise");
    answer got = ask(INFO, NULL, 0);
    int zeros = 1;
    for (int i = 43; i < INFO_BYTES; i++)
        zeros &= got.payload[i] == 0;
    check(zeros && got.length == INFO_BYTES, "net, n_logits, pixel_bytes are 0 while loaded is 0", "not");
    must_refuse("INFER: NOT_LOADED, which comes before LENGTH", INFER, payload, 5, NOT_LOADED);
    must_refuse("PIXELS: NOT_LOADED, which comes before LENGTH", PIXELS, payload, 0, NOT_LOADED);
    make_end(end, net);
    must_refuse("END_LOAD: LENGTH comes before ORDER", END_LOAD, end, END_BYTES - 1, LENGTH);
    must_refuse("END_LOAD: ORDER, bytes of the tape have not come", END_LOAD, end, END_BYTES, ORDER);

    make_load(payload, net, 0, MAX_PART);
    must_refuse("LOAD: LENGTH, less than an offset", LOAD, payload, 3, LENGTH);
    must_refuse("LOAD: LENGTH, no bytes", LOAD, payload, 4, LENGTH);
    must_refuse("LOAD: LENGTH, an odd number of bytes", LOAD, payload, 4 + 7, LENGTH);
    put(payload, 2, 4);
    must_refuse("LOAD: ORDER, offset is not the device's next one", LOAD, payload, 4 + 2, ORDER);
    must_refuse("LOAD: LENGTH of an odd number comes before ORDER", LOAD, payload, 4 + 3, LENGTH);
    check_status("refused bytes are not taken", 0, 0, 0);
    must_do("LOAD brings bytes of the tape", LOAD, payload, make_load(payload, net, 0, 8), 0);
    must_refuse("a LOAD whose answer was lost is not applied twice (ORDER)", LOAD, payload, 4 + 8, ORDER);
    check_status("load_next", next = 8, 0, 0);

    must_begin("a load of the same tape goes on, and next is where it is", net, next);
    must_do("RESET has an answer without payload", RESET, NULL, 0, 0);
    must_begin("also after a RESET", net, next);
    make_begin(begin, net), begin[3] ^= 0x40;
    must_refuse("BEGIN_LOAD: CONFIG leaves everything as it was", BEGIN_LOAD, begin, BEGIN_BYTES, CONFIG);
    check_status("the load is still going on", next, 0, 0);
    other.chunks++;
    must_begin("of as many chunks: of one more it is another load, and next is 0", &other, 0);
    must_do("which goes on", LOAD, payload, make_load(payload, net, 0, 10), 0);
    must_begin("a load that was going on is forgotten: next is 0", net, 0);
    must_do("and again", LOAD, payload, make_load(payload, net, 0, 2), 0);
    other.chunks--, other.name[7] ^= 1;
    must_begin("of the same tape: of one that has another name next is 0", &other, 0);
    static const uint32_t wrong_chunks[] = { 0, 32769, 0x10000, 0x80000001 };
    for (int i = 0; i < 4; i++) {
        must_begin("BEGIN_LOAD of another tape", net, 0);
        must_do("LOAD", LOAD, payload, make_load(payload, net, 0, 100), 0);
        make_begin(begin, net), put(begin + 16, wrong_chunks[i], 4);
        must_refuse("BEGIN_LOAD: SIZES, 0, or more than 32,768", BEGIN_LOAD, begin, BEGIN_BYTES, SIZES);
        must_refuse("a load has ended after it: LOAD is ORDER", LOAD, payload, make_load(payload, net, 100, 2), ORDER);
        must_refuse("a load has ended after it: END_LOAD is ORDER", END_LOAD, end, END_BYTES, ORDER);
    }
    must_begin("and it does not go on", net, 0);
    for (answer other_answer; next < net->bytes; ) {        /* "a client that broke off, at any byte, continues" */
        unsigned bytes = 2 + 2 * below(300);
        bytes = bytes > net->bytes - ask_status().load_next ? net->bytes - ask_status().load_next : bytes;
        image part = *net;
        got = ask_begin(net);
        next = (uint32_t)get(got.payload, 4), part.bytes = next + bytes;
        if (!is_answer(&got, BEGIN_LOAD, sequence, 4) || !load_rest(&part, next, MAX_PART, 1, &other_answer))
            stop("a load in parts is answered by", told(&got));
        next += bytes;
    }
    check_status("load_next is the number of bytes", net->bytes, 0, 0);
    put(payload, net->bytes, 4);
    must_refuse("LOAD: LENGTH, more than the tape has", LOAD, payload, 4 + 2, LENGTH);
    put(payload, net->bytes + 2, 4);
    must_refuse("LOAD: ORDER comes before that LENGTH", LOAD, payload, 4 + 2, ORDER);

    must_refuse("END_LOAD: LENGTH", END_LOAD, payload, END_BYTES + 1, LENGTH);
    const struct { const char *sentence; unsigned n_logits, pixels; } wrong[] = {
        { "SIZES: n_logits is 0", 0, net->pixels }, { "SIZES: n_logits is more than 1022", 1023, net->pixels },
        { "SIZES: pixels is 0", net->n_logits, 0 }, { "SIZES: pixels is more than 16129", net->n_logits, 16130 },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(bad, end, END_BYTES), bad[0] ^= 1;
        put(put(bad + 13, wrong[i].n_logits, 2), wrong[i].pixels, 2);
        must_refuse(wrong[i].sentence, END_LOAD, bad, END_BYTES, SIZES);
    }
    memcpy(bad, end, END_BYTES), bad[4] = 0xFE;
    if (!is->sdram_bytes)
        must_refuse("SIZES: resident is 0 and the device has no SDRAM", END_LOAD, bad, END_BYTES, SIZES);
    check_status("after these refusals the load is still going on", net->bytes, 0, 0);
    memset(end + 5, 0xAB, 8), end[4] |= 0xFE;
    must_do("END_LOAD may be sent again; the other bits of resident are not looked at", END_LOAD, end, END_BYTES, 0);
    got = ask(INFO, NULL, 0);
    check(got.length == INFO_BYTES && got.payload[43] == 1 && !memcmp(got.payload + 44, end + 5, 8),
          "net is not checked: it is what INFO repeats", "not");
    must_refuse("the load has ended: LOAD is ORDER", LOAD, payload, 4 + 2, ORDER);
    must_refuse("the load has ended: END_LOAD is ORDER", END_LOAD, end, END_BYTES, ORDER);
    check(!memcmp(ask_status().tape, net->name, 8), "tape stays", "otherwise");
    classify("the net is loaded", net, known, 1);
    check_status("load_next stays; images: pictures answered by their logits", net->bytes, 0, 1);

    must_begin("a load has ended when END_LOAD is carried out: next is 0", net, 0);
    check(load_rest(net, 0, MAX_PART, 1, &got), "LOAD in the largest parts", "%s", told(&got));
    make_end(end, net), end[3] ^= 0x80;
    must_refuse("IMAGE_CHECK: the CRC-32 of all bytes", END_LOAD, end, END_BYTES, IMAGE_CHECK);
    expected_damaged = 1;
    check_refused_as_damaged(net);
    must_begin("a load begins from nothing: next is 0", net, 0);
    check_status("damaged is 0 when the next load has begun", 0, 0, 0);
    must_refuse("INFER: refused by DAMAGED until the next load begins", INFER, payload, 3, NOT_LOADED);
    for (uint32_t chunk = 0; chunk < net->chunks; chunk++) {
        other.tape[CHUNK * chunk + below(CHUNK)] ^= (byte)(1 << below(8));
        set_name(&other);
        got = try_load(&other, MAX_PART, 1);
        check(is_error(&got, sequence, IMAGE_CHECK), "IMAGE_CHECK: the check of each chunk", "%s", told(&got));
        memcpy(other.tape, net->tape, net->bytes);
    }
    memcpy(other.tape, net->tape + CHUNK, CHUNK), memcpy(other.tape + CHUNK, net->tape, CHUNK);
    set_name(&other);
    got = try_load(&other, MAX_PART, 1);
    check(is_error(&got, sequence, IMAGE_CHECK), "IMAGE_CHECK: a chunk in another one's place", "%s", told(&got));
    check_refused_as_damaged(net);
    free(other.tape);
}

/* Many LOAD on their way. What the tape says is not checked: this one says nothing that makes sense. */

static void try_many_loads(const image *net)
{
    static byte data[4 * MAX_FRAME];
    byte end[END_BYTES], payload[MAX_PAYLOAD], *at = data;
    answer got;
    image odd = copy_of(net, 40);
    for (byte *word = odd.tape; word < odd.tape + odd.bytes; word++)
        *word = (byte)random_bits();
    check_chunks(&odd);
    must_begin("a tape of 40 chunks", &odd, 0);
    check(load_rest(&odd, 0, MAX_PART, 10, &got), "any number of LOAD may be on their way: 10", "%s", told(&got));
    check_status("all were carried out", odd.bytes, 0, 0);
    odd.name[0] ^= 1;
    must_begin("once more, of another name", &odd, 0);
    for (unsigned i = 0; i < 4; i++) {
        unsigned length = make_load(payload, &odd, MAX_PART * i, MAX_PART);
        at += make_frame(at, LOAD, ++sequence, payload, length);
        if (i == 1)
            at[-3000] ^= 0x10;
    }
    send_bytes(data, (size_t)(at - data));
    int holds = 1;
    for (unsigned i = 0; i < 4; i++) {
        byte to = (byte)(sequence - 3 + i);
        got = await();
        holds &= i == 0 ? is_answer(&got, LOAD, to, 0) : is_error(&got, to, i == 1 ? FRAME_CHECK : ORDER);
        expected[i == 1 ? FRAME_ERRORS : FRAMES]++;
    }
    check(holds, "if one of several LOAD is damaged, those behind it are ORDER", "otherwise");
    check_status("load_next is where the damaged one begins", MAX_PART, 0, 0);
    must_begin("and BEGIN_LOAD says where to go on", &odd, MAX_PART);
    check(load_rest(&odd, MAX_PART, MAX_PART, 3, &got), "it goes on", "%s", told(&got));
    make_end(end, &odd);
    got = ask(END_LOAD, end, END_BYTES);
    check(is_answer(&got, END_LOAD, sequence, 0) || is_error(&got, sequence, STALLED),
          "what the tape says is not checked either: END_LOAD is carried out, or STALLED", "%s", told(&got));
    free(odd.tape);
}

/* INFER */

static void try_infer(const image *net, const answers *known)
{
    const byte *picture = known->data, *wanted = picture + net->pixel_bytes;
    classify("two INFER may be on their way, and are answered in the order of the pictures", net, known, WINDOW);
    check_status("images counts them", -1, 0, 1);

    /* "A RESET or STATUS may be sent behind them at any time, but is dropped if the INFER before it still waits" */
    for (int kind = STATUS; kind <= RESET; kind++)
        for (int turn = 0; turn < 6; turn++) {
            byte first = (byte)(sequence + 1), behind = (byte)(first + 2);
            unsigned logits = 0;
            int told_outstanding = -1, done = 0, holds = 1;
            for (int i = 0; i < WINDOW; i++)
                send_command(INFER, picture, net->pixel_bytes);
            send_command(kind, NULL, 0);
            while (!done) {
                answer got = await();
                if (got.sequence == behind) {
                    holds &= is_answer(&got, kind, behind, kind == STATUS ? STATUS_BYTES : 0);
                    told_outstanding = kind == STATUS ? got.payload[26] : WINDOW - (int)logits;
                    holds &= told_outstanding == WINDOW - (int)logits;
                    done = kind == RESET || logits == WINDOW;
                } else {
                    holds &= is_exact(&got, (byte)(first + logits), net, wanted);
                    expected[IMAGES]++, logits++;
                    done = logits == WINDOW && (told_outstanding >= 0 || kind == STATUS);
                    if (logits == WINDOW && kind == RESET)
                        break;                              /* RESET's answer comes now, or RESET was dropped */
                }
                if (!holds)
                    break;
            }
            if (holds && told_outstanding < 0) {            /* the next answer tells which it was */
                send_command(INFO, NULL, 0);
                answer got = await();
                if (got.sequence == behind) {
                    holds = is_answer(&got, kind, behind, kind == STATUS ? STATUS_BYTES : 0);
                    got = await();
                } else {
                    expected[FRAMES]--, expected[OVERRUNS]++;
                }
                holds &= is_answer(&got, INFO, sequence, INFO_BYTES);
            }
            char sentence[160];
            sprintf(sentence, "%s behind two INFER is answered before, between or after them, or dropped: here %s %d",
                    kind == STATUS ? "STATUS" : "RESET", told_outstanding < 0 ? "dropped," : "before answers:",
                    told_outstanding);
            check(holds, sentence, "otherwise, after %u logits", logits);
            check_status("a dropped frame is an overrun, and pictures that RESET drops are no images", -1, 0, 1);
        }
}

/* PIXELS */

static byte picture_sequence;                               /* of the picture whose parts are sent */

static void send_part(int kind, const byte *picture, unsigned offset, unsigned bytes)
{
    byte payload[MAX_PAYLOAD];
    sequence = (byte)(picture_sequence - 1);
    if (kind == INFER)
        send_command(INFER, picture + offset, bytes);
    else
        memcpy(put(payload, offset, 2), picture + offset, bytes), send_command(PIXELS, payload, 2 + bytes);
}

static void must_refuse_part(const char *sentence, int kind, const byte *picture, unsigned offset, unsigned bytes,
                             int code)
{
    send_part(kind, picture, offset, bytes);
    answer got = await();
    check(is_error(&got, picture_sequence, code), sentence, "%s", told(&got));
}

static void must_take_part(const char *sentence, int kind, const byte *picture, const image *net, unsigned offset,
                           unsigned bytes)
{
    send_part(kind, picture, offset, bytes);
    answer got = await();
    check(kind == PIXELS ? is_answer(&got, PIXELS, picture_sequence, 0)
          : is_exact(&got, picture_sequence, net, picture + net->pixel_bytes), sentence, "%s", told(&got));
    expected[IMAGES] += kind == INFER;
}

static void try_parts(const image *net, const answers *known)
{
    const byte *picture = known->data;
    unsigned all = net->pixel_bytes, parts = 0;
    picture_sequence = 0x70;
    must_take_part("PIXELS sends a part of the next picture, of any number of bytes: 1", PIXELS, picture, net, 0, 1);
    must_refuse_part("offset must be where it goes on (ORDER)", PIXELS, picture, 0, 1, ORDER);
    must_refuse_part("offset must be where it goes on (ORDER)", PIXELS, picture, 2, 1, ORDER);
    must_refuse_part("a PIXELS with all that is missing is LENGTH", PIXELS, picture, 1, all - 1, LENGTH);
    must_refuse_part("an INFER whose payload is not exactly what is missing is LENGTH", INFER, picture, 0, all, LENGTH);
    must_refuse_part("an INFER whose payload is not exactly what is missing is LENGTH", INFER, picture, 2, all - 2,
                     LENGTH);
    picture_sequence = 0x71;
    must_refuse_part("all parts of a picture have the same sequence number (ORDER)", PIXELS, picture, 1, 4, ORDER);
    must_refuse_part("its INFER too (ORDER)", INFER, picture, 1, all - 1, ORDER);
    picture_sequence = 0x70;
    must_take_part("they leave everything as it was: the picture goes on", PIXELS, picture, net, 1, all - 2);
    must_take_part("the last part of a picture is INFER's, at least a byte", INFER, picture, net, all - 1, 1);
    check_status("images counts the picture", -1, 0, 1);
    must_take_part("PIXELS of a picture that is never whole", PIXELS, picture, net, 0, all / 2);
    check_status("outstanding counts INFER alone", -1, 0, 1);
    sequence = 0x10;
    must_do("RESET drops the parts of one that has not come whole", RESET, NULL, 0, 0);
    picture_sequence = 0x72;
    must_take_part("so the next one begins at 0", PIXELS, picture, net, 0, 3);
    must_take_part("and is exact", INFER, picture, net, 3, all - 3);

    /* Parts while the picture before is being classified: its answer comes when it comes */
    int holds = 1;
    unsigned exact = 0;
    for (unsigned i = 0; i < 3 * known->count && holds; i++) {
        const byte *data = known->data + i % known->count * known->stride;
        const byte *before = known->data + (i + known->count - 1) % known->count * known->stride;
        picture_sequence++;
        for (unsigned offset = 0, bytes; offset < all && holds; offset += bytes) {
            bytes = 1 + below(all - offset < 60 ? all - offset : 60);
            int kind = offset + bytes == all ? INFER : PIXELS;
            send_part(kind, data, offset, bytes), parts++;
            while (kind == PIXELS && holds) {
                answer got = await();
                if (is_answer(&got, PIXELS, picture_sequence, 0))
                    break;
                holds = is_exact(&got, (byte)(picture_sequence - 1), net, before + all) && ++exact <= i;
            }
        }
        if (holds && i + 1 < 3 * known->count && exact < i) {      /* at most two INFER may be on their way */
            answer got = await();
            holds = is_exact(&got, (byte)(picture_sequence - 1), net, before + all);
            exact++;
        }
    }
    answer got = await();
    exact += (unsigned)is_exact(&got, picture_sequence, net, known->data + (known->count - 1) * known->stride + all);
    if (exact < 3 * known->count)
        holds = 0;
    expected[IMAGES] = (uint16_t)(expected[IMAGES] + exact);
    check(holds, "parts may be sent while a picture is being classified", "otherwise after %u pictures", exact);
    printf("   %u pictures in %u parts\n", exact, parts);
    check_status("images counts pictures, not parts", -1, 0, 1);
}

/* Nets that say something wrong of themselves, and tapes that do */


static void try_wrong_nets(const image *net, const answers *known)
{
    byte payload[MAX_PAYLOAD], begin[BEGIN_BYTES];
    const byte *picture = known->data;
    image wrong = *net;
    wrong.pixels = 1;                                       /* the core waits for the others */
    load_all("a net with a wrong number of pixels is taken", &wrong, MAX_PART, 1);
    make_begin(begin, net);
    send_command(INFER, picture, 3);
    check_status("a program that never sends its last logit leaves its picture without an answer", net->bytes, 1, 1);
    send_command(INFER, picture, 3);
    check_status("outstanding: INFER not answered", net->bytes, 2, 1);
    must_refuse("INFER: BUSY, two are on their way already", INFER, picture, 3, BUSY);
    must_refuse("INFER: LENGTH comes before BUSY", INFER, picture, 6, LENGTH);
    put(payload, 9, 2);
    must_refuse("PIXELS: while two are on their way they are BUSY, which comes before ORDER", PIXELS, payload, 3, BUSY);
    must_refuse("PIXELS: LENGTH comes before BUSY", PIXELS, payload, 5, LENGTH);
    must_refuse("BEGIN_LOAD: BUSY while an INFER is not answered", BEGIN_LOAD, begin, BEGIN_BYTES, BUSY);
    must_refuse("BEGIN_LOAD: BUSY comes before LENGTH", BEGIN_LOAD, begin, 3, BUSY);
    must_refuse("LOAD: ORDER", LOAD, payload, 6, ORDER);
    must_refuse("RESET: LENGTH", RESET, payload, 9, LENGTH);
    must_do("INFO is answered while the core is at such a program", INFO, NULL, 0, INFO_BYTES);
    check_status("they leave everything as it was", net->bytes, 2, 1);
    must_do("RESET drops the pictures on their way", RESET, NULL, 0, 0);
    check_status("the net and all counters stay; the pictures do not count as images", net->bytes, 0, 1);
    must_begin("which RESET ends: BEGIN_LOAD is taken", net, 0);

    static const int more[] = { 1, -1, 0 };
    wrong = *net;
    for (int i = 0; i < 3; i++) {
        wrong.n_logits = i == 2 ? 1022 : (unsigned)((int)net->n_logits + more[i]);
        load_all("the net with a wrong number of logits is taken", &wrong, MAX_PART, 1);
        send_command(INFER, picture, net->pixel_bytes), send_command(INFER, picture, net->pixel_bytes);
        answer one = await(), two = await();
        check(is_error(&one, (byte)(sequence - 1), LOGITS) && is_error(&two, sequence, LOGITS),
              "if the program sent more or fewer than the net has, the answer is ERROR with LOGITS", "%s", told(&two));
        check_status("LOGITS does not count as an image", net->bytes, 0, 1);
    }
    load_all("the right net again", net, MAX_PART, 1);
    classify("it is exact again", net, known, WINDOW);

    /* "What the tape says is not checked either: where it is wrong the logits are, or LOGITS or STALLED is the answer,
       or none comes until a RESET, but the device goes on answering" */
    int counted[4] = { 0 }, stalls = 0, unloaded = 0, holds = 1;
    image lying = copy_of(net, net->chunks);
    for (int turn = 0; turn < 40 && holds; turn++) {
        memcpy(lying.tape, net->tape, net->bytes);
        for (unsigned i = 0; i <= below(3); i++) {
            byte *word = lying.tape + (below(4) ? below(200) : below(net->bytes));
            *word = turn % 2 ? (byte)random_bits() : *word ^ (byte)(1 << below(8));
        }
        check_chunks(&lying);
        answer got = try_load(&lying, MAX_PART, 1);
        if (is_error(&got, sequence, STALLED)) {
            unloaded++;
            continue;
        }
        holds &= is_answer(&got, END_LOAD, sequence, 0);
        int gone = 0, outcome[WINDOW] = { 0 };              /* gone: by STALLED, no net is loaded any more */
        byte infer = (byte)(sequence + 1);                  /* the first; the second has two more, STATUS goes between */
        for (int i = 0; i < 2 * WINDOW + 1 && !gone && holds; i++) {
            int kind = i == 2 * WINDOW ? RESET : i % 2 ? STATUS : INFER;
            send_command(kind, picture, kind == INFER ? net->pixel_bytes : 0);
            if (kind == INFER)
                continue;
            for (got = await(); holds && got.sequence != sequence; got = await()) {
                int which = (byte)(got.sequence - infer) / 2;
                holds &= which < WINDOW && !outcome[which];
                if (holds)
                    outcome[which] = is_answer(&got, INFER, got.sequence, answer_bytes(net)) ? INFER
                                     : is_error(&got, got.sequence, LOGITS) ? LOGITS
                                     : is_error(&got, got.sequence, STALLED) ? STALLED : 0;
                holds = holds && outcome[which];
                gone |= holds && outcome[which] == STALLED;
            }
            if (kind == RESET && is_error(&got, sequence, STALLED))
                gone = 1, stalls++;
            else
                holds &= is_answer(&got, kind, sequence, kind == STATUS ? STATUS_BYTES : 0);
        }
        for (int i = 0; i < WINDOW; i++) {
            counted[outcome[i] == INFER ? 0 : outcome[i] == LOGITS ? 1 : outcome[i] == STALLED ? 2 : 3]++;
            if (outcome[i] == INFER)
                expected[IMAGES]++;
        }
        status now = ask_status();
        holds &= now.outstanding == 0 && now.loaded == !gone && now.load_next == net->bytes;
    }
    free(lying.tape);
    char sentence[200];
    sprintf(sentence, "the device goes on answering: %d logits, %d LOGITS, %d STALLED, %d none until RESET; %d RESET and "
            "%d loads STALLED", counted[0], counted[1], counted[2], counted[3], stalls, unloaded);
    check(holds, sentence, "not");
    check_status("what happened there is counted", -1, -1, -1);
    load_all("and the net is loaded when its tape is right again", net, MAX_PART, 1);
    classify("and exact", net, known, WINDOW);
}

/* Reception */

enum { NOTHING, WHOLE = -1 };

/* "Reception, byte after byte": what a byte ends. NOTHING, WHOLE, or the error code. */
typedef struct { int at; unsigned length, had; byte frame[MAX_FRAME]; } receiver;

static int take(receiver *state, byte value)
{
    byte *frame = state->frame;
    if (state->at < 2) {
        state->at = value == 0xA5 ? 1 : state->at == 1 && value == 0x5A ? 2 : 0;
        return NOTHING;
    }
    frame[state->at++] = value;
    if (state->at < 9)
        return NOTHING;
    state->length = (unsigned)get(frame + 5, 2);
    if (state->at == 9) {
        int fault = crc16(frame + 2, 5) != get(frame + 7, 2) ? HEADER_CHECK : frame[2] != 1 ? VERSION
                    : state->length > MAX_PAYLOAD ? LENGTH : NOTHING;
        if (fault)
            state->at = 0;
        return fault;
    }
    if (state->at < (int)(9 + state->length + 4))
        return NOTHING;
    state->at = 0;
    return crc32(crc32(0, frame + 2, 5), frame + 9, state->length) == get(frame + 9 + state->length, 4) ? WHOLE
           : FRAME_CHECK;
}

static receiver model;
static byte pending[4 * MAX_FRAME];
static size_t pending_bytes;
static unsigned outcomes_seen[16];

/* Sends bytes; wherever the page says that they end a frame, its one answer is awaited before the next byte. */
static int try_bytes(const byte *data, size_t count)
{
    int holds = 1;
    for (size_t i = 0; i < count; i++) {
        int outcome = take(&model, data[i]);
        pending[pending_bytes++] = data[i];
        if (outcome == NOTHING)
            continue;
        send_bytes(pending, pending_bytes);
        pending_bytes = 0;
        byte kind = model.frame[3], to = model.frame[4];
        answer got = await();
        if (outcome == WHOLE)
            holds &= kind > 2 ? is_error(&got, to, COMMAND) : model.length ? is_error(&got, to, LENGTH)
                     : is_answer(&got, kind, to, kind == INFO ? INFO_BYTES : STATUS_BYTES);
        else
            holds &= is_error(&got, to, outcome);
        if (outcome == WHOLE || outcome == HEADER_CHECK || outcome == FRAME_CHECK)
            expected[outcome == WHOLE ? FRAMES : outcome == HEADER_CHECK ? HEADER_ERRORS : FRAME_ERRORS]++;
        outcomes_seen[outcome == WHOLE ? 0 : outcome]++;
    }
    return holds;
}

static void must_take(const char *sentence, const byte *data, size_t count, unsigned answers)
{
    unsigned before = 0, after = 0;
    for (int i = 0; i < 16; i++)
        before += outcomes_seen[i];
    int holds = try_bytes(data, count);
    for (int i = 0; i < 16; i++)
        after += outcomes_seen[i];
    if (pending_bytes)
        send_bytes(pending, pending_bytes);
    pending_bytes = 0;
    if (after - before != answers || model.at)
        stop("the client's own test is wrong:", sentence);
    check(holds, sentence, "otherwise");
    check_status("its counters are those", -1, 0, 1);
}

static void try_reception(void)
{
    byte data[2 * MAX_FRAME], inner[64], *at = data;
    size_t inner_bytes = make_frame(inner, INFO, 0x31, NULL, 0), bytes;
    for (unsigned value = 0; value < 256; value++)
        if (value != 0xA5)
            *at++ = (byte)value;
    must_take("bytes are passed over up to an A5", data, (size_t)(at - data), 0);
    data[0] = 0xA5, memcpy(data + 1, inner, inner_bytes);
    must_take("the frame of A5 A5 5A begins at its last two bytes", data, 1 + inner_bytes, 1);
    memset(data, 0xA5, 9), memcpy(data + 9, inner, inner_bytes);
    must_take("another A5 takes the place of the first, nine times", data, 9 + inner_bytes, 1);
    data[0] = 0xA5, memset(data + 1, 0x01, 1), memcpy(data + 2, inner + 1, inner_bytes - 1);
    must_take("any other byte after an A5 is passed over too: A5 01 5A begins no frame", data, 1 + inner_bytes, 0);
    data[0] = 0x5A, memcpy(data + 1, inner, inner_bytes), data[inner_bytes + 1] = 0x5A;
    must_take("5A alone begins no frame", data, inner_bytes + 2, 1);

    for (int i = 2; i < 9; i++) {
        bytes = make_frame(data, INFO, 0x40 + i, NULL, 0);
        data[i] ^= 0x10;
        must_take("HEADER_CHECK: a header came damaged; the sequence in the answer is as it came", data, bytes, 1);
    }
    bytes = make_frame(data, INFO, 0x51, NULL, 0);
    data[2] = 2, mend_header(data);
    must_take("VERSION, counted nowhere", data, bytes, 1);
    data[2] = 0, mend_header(data), data[7] ^= 1;
    must_take("HEADER_CHECK comes before VERSION", data, bytes, 1);
    data[2] = 9, put(data + 5, 4097, 2), mend_header(data);
    must_take("VERSION comes before LENGTH", data, bytes, 1);
    data[2] = 1, mend_header(data);
    must_take("LENGTH over 4096, counted nowhere", data, bytes, 1);
    put(data + 5, 0xFFFF, 2), mend_header(data);
    must_take("LENGTH of 65535", data, bytes, 1);

    for (int fault = 0; fault < 3; fault++) {
        bytes = make_frame(data, 0x77, 0x52, inner, (unsigned)inner_bytes);
        if (fault == 0)
            data[7] ^= 0x80;
        else if (fault == 1)
            data[2] = 7, mend_header(data);
        else
            put(data + 5, 5000, 2), mend_header(data);
        must_take("what was meant to be a payload is not skipped, and a whole frame in it is one", data, bytes, 2);
    }
    bytes = make_frame(data, 0x77, 0x53, inner, (unsigned)inner_bytes);
    must_take("the payload, whatever bytes it has: a frame in it is none", data, bytes, 1);
    data[9] ^= 1;
    must_take("FRAME_CHECK of a damaged payload; nothing that was read is looked at again", data, bytes, 1);
    data[9] ^= 1, data[bytes - 1] ^= 0x80;
    must_take("FRAME_CHECK of a damaged frame check", data, bytes, 1);
    bytes = make_frame(data, RESET, 0x54, NULL, 0);
    data[bytes - 4] ^= 1;
    must_take("FRAME_CHECK of a frame without payload", data, bytes, 1);

    /* The page's rules, carried out by `take`, against the device's */
    int holds = 1, rounds = 0;
    for (; rounds < 250 && holds; rounds++) {
        unsigned how = below(8), length = below(4) ? 0 : below(30);
        byte payload[32];
        for (unsigned i = 0; i < length; i++)
            payload[i] = below(3) ? (byte)random_bits() : below(2) ? 0xA5 : 0x5A;
        bytes = make_frame(data, below(3) ? 1 + (int)below(2) : 0x60 + (int)below(9), (int)below(256), payload, length);
        if (how == 1)
            data[below((unsigned)bytes)] ^= (byte)(1u << below(8));
        else if (how == 2)
            bytes = below((unsigned)bytes);                 /* cut, and what comes next goes on in its place */
        else if (how == 3)
            data[2 + below(7)] = 0xA5, data[2 + below(7)] = 0x5A;
        else if (how == 4)
            data[2] = (byte)random_bits(), mend_header(data);
        else if (how == 5)
            put(data + 5, MAX_PAYLOAD + 1 + below(9), 2), mend_header(data);
        else if (how == 6)
            for (bytes = 0; bytes < 25; bytes++)
                data[bytes] = below(2) ? (byte)random_bits() : below(2) ? 0xA5 : 0x5A;
        holds &= try_bytes(data, bytes);
    }
    for (memset(data, 0, 1); holds && model.at; )
        holds &= try_bytes(data, 1);
    send_bytes(pending, pending_bytes), pending_bytes = 0;
    check(holds, "every other frame gets exactly one answer, of 250 random pieces", "otherwise in piece %d", rounds);
    check_status("counters after the random pieces", -1, 0, 1);
    printf("   of them and those before: %u whole, %u HEADER_CHECK, %u VERSION, %u LENGTH, %u FRAME_CHECK\n",
           outcomes_seen[0], outcomes_seen[HEADER_CHECK], outcomes_seen[VERSION], outcomes_seen[LENGTH],
           outcomes_seen[FRAME_CHECK]);
}

/* Silence */

static void try_silence(const image *net)
{
    static const struct { const char *sentence; int kind; unsigned payload, sent; } cut[] = {
        { "TIMEOUT: a frame broke off in its payload", BEGIN_LOAD, BEGIN_BYTES, 9 + 4 },
        { "TIMEOUT before the first byte of the payload", LOAD, 6, 9 },
        { "TIMEOUT in the frame check", RESET, 0, 9 + 3 },
        { "TIMEOUT at the first byte of the frame check", INFO, 0, 9 },
    };
    byte frame[MAX_FRAME];
    double took = 0;
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        make_frame(frame, cut[i].kind, ++sequence, net->config, cut[i].payload);
        double begun = seconds_now();
        send_bytes(frame, cut[i].sent);
        answer got = await();
        took = seconds_now() - begun > took ? seconds_now() - begun : took;
        expected[TIMEOUTS]++;
        check(is_error(&got, sequence, TIMEOUT), cut[i].sentence, "%s", told(&got));
        check_status("counted as a timeout, and the command was not carried out", -1, 0, 1);
    }

    /* Without an answer only the clock tells when the silence was long enough. Where it was not, the STATUS behind it
       is not counted as the page says, or not even read as a frame: then once more, with twice the wait. */
    static const unsigned unanswered[] = { 1, 2, 5, 8 };
    for (size_t i = 0; i < sizeof unanswered / sizeof *unanswered; i++) {
        int noticed = 0;
        double wait = took < 0.5 ? 1 : 2 * took;
        for (int tries = 0; tries < 7 && !noticed; tries++, wait *= 2) {
            answer got;
            status now;
            make_frame(frame, INFO, ++sequence, NULL, 0);
            send_bytes(frame, unanswered[i]);
            pause_for(wait);
            send_command(STATUS, NULL, 0);
            noticed = receive(&got, PATIENCE * 100) && is_answer(&got, STATUS, sequence, STATUS_BYTES);
            if (noticed) {
                read_status(&got, &now);
                expected[TIMEOUTS]++;
                noticed = !memcmp(now.counters, expected, sizeof expected);
            }
            if (!noticed) {
                do {                                        /* "waits longer ..., and sends again"; other answers go by */
                    pause_for(wait);
                    send_command(STATUS, NULL, 0);
                    while ((noticed = receive(&got, PATIENCE * 100)) && got.sequence != sequence)
                        continue;
                } while (!noticed);
                noticed = 0;
                read_status(&got, &now);
                memcpy(expected, now.counters, sizeof expected);
            }
        }
        char sentence[120];
        sprintf(sentence, "in sync, header and header check silence is counted, not answered: after %u bytes",
                unanswered[i]);
        check(noticed, sentence, "otherwise");
    }
}

/* Overruns: many frames without a wait. Each is answered in its place, or dropped and counted. */

static void try_overruns(void)
{
    static byte data[8 * MAX_FRAME];
    unsigned answered_in_all = 0, dropped_in_all = 0;
    for (int turn = 0; turn < 12; turn++) {
        enum { FRAMES_SENT = 24 };
        int outcome[FRAMES_SENT + 200];
        size_t bytes = 0;
        unsigned sent = 0, answered = 0, answered_whole = 0, answered_checks = 0, headers = 0, checks = 0, whole = 0;
        byte first = ++sequence;
        byte payload[40] = { 0 };
        for (; sent < FRAMES_SENT; sent++) {
            unsigned length = turn % 3 == 0 ? 0 : below(2) ? 0 : below(40);
            size_t one = make_frame(data + bytes, length ? 0x61 : STATUS, (byte)(first + sent), payload, length);
            outcome[sent] = WHOLE;
            if (turn % 3 == 2 && below(3) == 0) {
                outcome[sent] = below(2) ? HEADER_CHECK : FRAME_CHECK;
                data[bytes + (outcome[sent] == HEADER_CHECK ? 7 : one - 1)] ^= 1;
            }
            headers += outcome[sent] == HEADER_CHECK, checks += outcome[sent] == FRAME_CHECK;
            whole += outcome[sent] == WHOLE;
            bytes += one;
        }
        send_bytes(data, bytes);
        status now = { 0 };
        int done = 0, holds = 1;
        unsigned last = 0;                                  /* place of the last answer, from 1 */
        do {                                                /* a STATUS, until one is answered: the last answer */
            answer got;
            byte frame[16];
            outcome[sent] = WHOLE, whole++;
            sequence = (byte)(first + sent++);
            send_bytes(frame, make_frame(frame, STATUS, sequence, NULL, 0));
            while (!done && receive(&got, 3000)) {
                unsigned place = (byte)(got.sequence - first) + 1u;
                holds &= place > last && place <= sent;
                if (!holds)
                    break;
                last = place, answered++;
                int code = outcome[place - 1];
                holds &= code != WHOLE ? is_error(&got, got.sequence, code)
                         : got.kind != ERROR || is_error(&got, got.sequence, COMMAND);
                answered_whole += code == WHOLE, answered_checks += code == FRAME_CHECK;
                done = place == sent;
                if (done)
                    read_status(&got, &now);
            }
        } while (holds && !done && sent < FRAMES_SENT + 200);
        check(holds && done, "frames without a wait are answered in their order, or dropped", "otherwise after answer %u",
              answered);
        uint16_t frames = (uint16_t)(now.counters[FRAMES] - expected[FRAMES]);
        uint16_t overruns = (uint16_t)(now.counters[OVERRUNS] - expected[OVERRUNS]);
        uint16_t damaged = (uint16_t)(now.counters[FRAME_ERRORS] - expected[FRAME_ERRORS]);
        check(frames == answered_whole, "frames counts those that came whole and were not dropped", "%d for %u", frames,
              answered_whole);
        check(overruns == sent - answered, "overruns counts the frames dropped", "%d for %u", overruns, sent - answered);
        check((uint16_t)(now.counters[HEADER_ERRORS] - expected[HEADER_ERRORS]) == headers,
              "header_errors counts each HEADER_CHECK, answered or dropped", "not %u", headers);
        check(damaged >= answered_checks && damaged <= checks, "frame_errors counts each FRAME_CHECK, answered or dropped, "
              "of frames whose payload was kept", "%d of %u, %u answered", damaged, checks, answered_checks);
        expected[FRAMES] = now.counters[FRAMES], expected[OVERRUNS] = now.counters[OVERRUNS];
        expected[HEADER_ERRORS] = now.counters[HEADER_ERRORS], expected[FRAME_ERRORS] = now.counters[FRAME_ERRORS];
        answered_in_all += answered, dropped_in_all += sent - answered;
    }
    printf("   %u frames answered, %u dropped\n", answered_in_all, dropped_in_all);
    check_status("nothing else happened", -1, 0, 1);
}

/* STALLED */

/* Sends the command until it is not answered by STALLED; returns how often it was. */
static unsigned ask_until_cleared(int kind, const void *payload, unsigned length, answer *got)
{
    unsigned stalls = 0;
    for (; stalls < 500; stalls++) {
        *got = ask(kind, payload, length);
        if (!is_error(got, sequence, STALLED))
            break;
    }
    return stalls;
}

static void try_stalled(const image *net, const answers *known, uint32_t load_next)
{
    byte payload[MAX_PAYLOAD], begin[BEGIN_BYTES], end[END_BYTES];
    answer got;
    must_refuse("INFER: STALLED, the core took no pixel", INFER, known->data, net->pixel_bytes, STALLED);
    check_status("STALLED: loaded and outstanding are 0, load_next stays", load_next, 0, 0);
    must_refuse("the device forgets the net", INFER, known->data, net->pixel_bytes, NOT_LOADED);
    must_refuse("RESET: LENGTH comes before STALLED", RESET, payload, 1, LENGTH);
    make_begin(begin, net), make_end(end, net);
    must_refuse("BEGIN_LOAD: LENGTH comes before STALLED", BEGIN_LOAD, begin, 7, LENGTH);
    begin[0] ^= 1;
    unsigned stalls = ask_until_cleared(BEGIN_LOAD, begin, BEGIN_BYTES, &got);
    check(stalls && is_error(&got, sequence, CONFIG), "BEGIN_LOAD: STALLED comes before CONFIG", "%u STALLED, then %s",
          stalls, told(&got));
    stalls = ask_until_cleared(RESET, NULL, 0, &got);
    check(is_answer(&got, RESET, sequence, 0), "RESET is answered by STALLED as long as the core does not answer",
          "%u STALLED, then %s", stalls, told(&got));
    check_status("no command sets a counter back", load_next, 0, 0);
    begin[0] ^= 1;
    stalls += ask_until_cleared(BEGIN_LOAD, begin, BEGIN_BYTES, &got);
    check(stalls && is_answer(&got, BEGIN_LOAD, sequence, 4), "when it does, it is cleared", "%u STALLED, then %s", stalls,
          told(&got));
    check_status("and a load is begun", 0, 0, 0);
    must_refuse("LOAD: STALLED, the core took no word of a net", LOAD, payload, make_load(payload, net, 0, 4000),
                STALLED);
    status now = ask_status();
    check(now.load_next < 4000 && now.load_next % 2 == 0 && !now.loaded && !now.outstanding,
          "STALLED: loaded and outstanding are 0", "load_next %lu", (unsigned long)now.load_next);
    must_refuse("the device forgets the load: LOAD is ORDER", LOAD, payload, make_load(payload, net, now.load_next, 2),
                ORDER);
    must_refuse("the device forgets the load: END_LOAD is ORDER", END_LOAD, end, END_BYTES, ORDER);
    check_status("load_next stays", now.load_next, 0, 0);
    ask_until_cleared(BEGIN_LOAD, begin, BEGIN_BYTES, &got);
    check(is_answer(&got, BEGIN_LOAD, sequence, 4) && get(got.payload, 4) == 0, "a load does not go on after STALLED",
          "%s", told(&got));
    check(load_rest(net, 0, 20, 1, &got), "and a net can be loaded: LOAD", "%s", told(&got));
    must_do("and a net can be loaded: END_LOAD", END_LOAD, end, END_BYTES, 0);
    check_status("and a net can be loaded: loaded is 1", net->bytes, 0, 1);
}

/* A net that the device's own memories do not hold, and the memory that does */

static void try_memory(const image *net, const answers *known)
{
    byte payload[MAX_PAYLOAD], begin[BEGIN_BYTES];
    unsigned polls = 0;
    must_refuse("without a net INFER is NOT_LOADED", INFER, known->data, net->pixel_bytes, NOT_LOADED);
    check(!ask_status().memory_state, "memory_state 0: never tested", "otherwise");
    load_all("a net that is played from SDRAM", net, 1000, 3);
    classify("its logits are exact", net, known, 1);
    classify("also where two are on their way", net, known, WINDOW);
    try_many_loads(net);
    load_all("again", net, MAX_PART, 2);
    try_parts(net, known);

    must_begin("a load", net, 0);
    must_do("which goes on", LOAD, payload, make_load(payload, net, 0, 6), 0);
    make_begin(begin, net);
    must_refuse("MEMORY_TEST: LENGTH", MEMORY_TEST, payload, 3, LENGTH);
    check_status("it leaves everything as it was", 6, 0, 0);
    must_do("MEMORY_TEST is answered when it has begun", MEMORY_TEST, payload, 2, 0);
    check(ask_status().memory_state == 1, "memory_state 1: being tested", "otherwise");
    must_refuse("a load that was going on is forgotten: LOAD is ORDER", LOAD, payload, make_load(payload, net, 6, 2),
                ORDER);
    must_refuse("BEGIN_LOAD is BUSY", BEGIN_LOAD, begin, BEGIN_BYTES, BUSY);
    must_refuse("MEMORY_TEST is BUSY, which comes before LENGTH", MEMORY_TEST, payload, 3, BUSY);
    must_refuse("no net is loaded", INFER, known->data, net->pixel_bytes, NOT_LOADED);
    must_do("RESET: a test of the memory stays", RESET, NULL, 0, 0);
    status now = ask_status();
    check(now.memory_state == 1, "RESET: a test of the memory stays", "otherwise");
    for (; now.memory_state == 1; polls++)
        now = ask_status();
    check(now.memory_state == 2 && !now.memory_errors, "memory_state 2: tested, without wrong words", "%d, %d errors",
          now.memory_state, now.memory_errors);
    printf("   tested within %u STATUS\n", polls);
    load_all("a load begins from nothing", net, MAX_PART, 1);
    classify("and the net is exact", net, known, WINDOW);
}

/* "beats: one every 2^22 of its cycles". The line tells the time: a byte is 10 bits. A simulated core may be slower than
   clock_hz says, so that it has 32 times as long. */
static void try_beats(const device *is, byte first)
{
    double cycles_a_status = (13 + 13 + STATUS_BYTES) * 10.0 * is->clock_hz / is->baud;
    unsigned limit = (unsigned)(32 * 4194304 / cycles_a_status) + 1, asked = 0;
    while (asked < limit && ask_status().beats == first)
        asked++;
    check(asked < limit, "beats: the core's clock, one every 2^22 of its cycles", "not in %u STATUS", limit);
}

int main(int count, char **words)
{
    image first, second;
    answers first_answers, second_answers;
    if (count != 4 && count != 6)
        stop("usage: client PORT FIRST-IMAGE FIRST-ANSWERS", "[SECOND-IMAGE SECOND-ANSWERS]");
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_image(words[2], &first), read_answers(words[3], &first, &first_answers);
    open_port(words[1]);

    status begin = ask_status();
    memcpy(expected, begin.counters, sizeof expected);
    check(begin.locked == 1, "locked: 1 while the PLL of the core's clock is locked", "%d", begin.locked);
    check(begin.outstanding == 0 && begin.loaded == first.resident, "a board that starts with a net: outstanding 0, "
          "loaded 1; or without", "%d, %d", begin.outstanding, begin.loaded);
    check(!begin.load_next && !get(begin.tape, 8), "load_next and tape are 0 before the first BEGIN_LOAD", "otherwise");
    device is = try_info(&first, begin.loaded);
    check_status("frames counts each of them; this STATUS is one", begin.load_next, 0, begin.loaded);
    if (!begin.loaded) {
        try_memory(&first, &first_answers);
    } else if (count == 4) {
        try_stalled(&first, &first_answers, begin.load_next);
    } else {
        read_image(words[4], &second), read_answers(words[5], &second, &second_answers);
        classify("the board classifies with the net it starts with", &first, &first_answers, 1);
        try_lengths(&is, &first);
        classify("the net is still what it was", &first, &first_answers, WINDOW);
        try_loading(&is, &second, &second_answers);
        try_many_loads(&second);
        load_all("a net in parts of 2 .. 510 bytes", &second, 510, 1);
        try_infer(&second, &second_answers);
        try_parts(&second, &second_answers);
        try_wrong_nets(&second, &second_answers);
        try_reception();
        try_silence(&second);
        try_overruns();
        load_all("another net", &first, MAX_PART, 2);
        classify("and its logits are exact", &first, &first_answers, WINDOW);
        check_status("and all was counted", first.bytes, 0, 1);
        try_beats(&is, begin.beats);
    }
    printf("%s: %d wrong\n", wrongs ? "WRONG" : "ok", wrongs);
    return wrongs != 0;
}
