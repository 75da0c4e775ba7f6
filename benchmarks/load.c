/*
 * The load generator: drives authenticated SMB 3.1.1 connections as fast as they answer.
 *
 * The connections are set up by client.py and inherited as file descriptors, together with the sessions' keys. What is
 * left to do here is what has to be fast: build, sign or encrypt, keep `depth` operations under way on each, take apart,
 * check. Every reply is checked: its signature or authentication tag, its status, and the length of data. Anything
 * unexpected ends the run with a message and exit status 1.
 *
 *   load MODE WORKLOAD DEPTH SECONDS SHARE_PATH FD:SESSION_ID:MESSAGE_ID:SIGNING_KEY:SENDING_KEY:RECEIVING_KEY...
 *
 * MODE is plain, signed (AES-128-GMAC) or encrypted (AES-128-GCM); keys and SESSION_ID are hexadecimal. Prints "ready",
 * waits for a line on standard input, and prints "OPERATIONS SECONDS CPU_SECONDS" at the end, the last being what it
 * needed itself. It then waits for end of file, so that the server's processes can be looked at while the connections
 * still stand.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TREE_CONNECT = 3, CREATE = 5, CLOSE = 6, READ = 8, WRITE = 9, ECHO = 13, QUERY_DIRECTORY = 14, QUERY_INFO = 16 };
enum { PLAIN, SIGNED, ENCRYPTED };
enum { NBT = 4, TRANSFORM = 52, HEADER = 64, MAX_DEPTH = 64, MAX_LINKS = 64, ROOM = 4 << 20, MAX_FRAME = 2 << 20 };
enum { FLAG_RESPONSE = 1, FLAG_ASYNC = 2, FLAG_SIGNED = 8 };
enum { STATUS_PENDING = 0x103, STATUS_NO_MORE_FILES = (int)0x80000006, STATUS_NOT_FOUND = (int)0xC0000034 };
enum { GENERIC_READ_DATA = 0x00120089, READ_WRITE = 0x0012019f, DELETE_ACCESS = 0x00010080 };
enum { FILE_OPEN = 1, FILE_CREATE = 2, DIRECTORY_FILE = 1, NON_DIRECTORY_FILE = 0x40, DELETE_ON_CLOSE = 0x1000 };
enum { DATA_FILE_SIZE = 16 << 20, LIST_BUFFER = 64 << 10 };

struct link;

/* One operation under way: which step of it has been sent, as what message, and the file it is about. */
struct slot {
    struct link *link;
    uint64_t message_id;
    uint64_t offset;
    uint32_t entries;
    int command, index, busy;
    uint8_t file_id[16];
};

struct workload {
    const char *name;
    void (*begin)(struct slot *);               /* sends the first request of an operation */
    int (*next)(struct slot *, const uint8_t *, size_t, uint32_t); /* takes a reply; sends more, or returns 1: done */
    const char *opens;                          /* file or directory that each slot holds open */
    int directory;
    uint32_t entries;                           /* of that directory, "." and ".." among them */
};

/* One connection with its session, and what is under way on it. */
struct link {
    int connection;
    uint64_t session_id, message_id, nonce;
    uint32_t tree_id, credits;
    EVP_CIPHER_CTX *signer, *sealer, *opener;
    uint8_t *output, *input;
    size_t output_used, input_start, input_end;
    struct slot slots[MAX_DEPTH];
};

/* A final reply, and the slot that it is for. */
struct reply {
    struct slot *slot;
    const uint8_t *body;
    size_t size;
    uint32_t status;
};

static int mode, links_used;
static struct link links[MAX_LINKS];
static const struct workload *current;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void put16(uint8_t *at, unsigned value) { at[0] = value; at[1] = value >> 8; }
static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }
static void put64(uint8_t *at, uint64_t value) { memcpy(at, &value, 8); }
static unsigned get16(const uint8_t *at) { return at[0] | at[1] << 8; }
static uint32_t get32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return value; }
static uint64_t get64(const uint8_t *at) { uint64_t value; memcpy(&value, at, 8); return value; }

static void must(int good, const char *what)
{
    if (good != 1) fail("%s failed", what);
}

/* AES-128-GMAC over a message whose signature field is zero (MS-SMB2 3.1.4.1). */
static void gmac(EVP_CIPHER_CTX *signer, const uint8_t *message, size_t size, int by_server, uint8_t signature[16])
{
    uint8_t iv[12] = {0};
    int length;
    memcpy(iv, message + 24, 8);
    iv[8] = by_server;
    must(EVP_EncryptInit_ex(signer, NULL, NULL, NULL, iv), "signing");
    must(EVP_EncryptUpdate(signer, NULL, &length, message, size), "signing");
    must(EVP_EncryptFinal_ex(signer, NULL, &length), "signing");
    must(EVP_CIPHER_CTX_ctrl(signer, EVP_CTRL_GCM_GET_TAG, 16, signature), "signing");
}

/* Encrypts in place the message behind a transform header (MS-SMB2 3.1.4.3). */
static void seal(struct link *link, uint8_t *transform, size_t size)
{
    EVP_CIPHER_CTX *sealer = link->sealer;
    int length;
    memset(transform, 0, TRANSFORM);
    memcpy(transform, "\xfdSMB", 4);
    put64(transform + 20, ++link->nonce);
    put32(transform + 36, size);
    put16(transform + 42, 1);
    put64(transform + 44, link->session_id);
    must(EVP_EncryptInit_ex(sealer, NULL, NULL, NULL, transform + 20), "encryption");
    must(EVP_EncryptUpdate(sealer, NULL, &length, transform + 20, 32), "encryption");
    must(EVP_EncryptUpdate(sealer, transform + TRANSFORM, &length, transform + TRANSFORM, size), "encryption");
    must(EVP_EncryptFinal_ex(sealer, transform + TRANSFORM + length, &length), "encryption");
    must(EVP_CIPHER_CTX_ctrl(sealer, EVP_CTRL_GCM_GET_TAG, 16, transform + 4), "encryption");
}

static uint8_t *open_sealed(EVP_CIPHER_CTX *opener, uint8_t *transform, size_t size)
{
    int length;
    if (size < TRANSFORM + HEADER || memcmp(transform, "\xfdSMB", 4)) fail("a reply is not encrypted");
    must(EVP_DecryptInit_ex(opener, NULL, NULL, NULL, transform + 20), "decryption");
    must(EVP_DecryptUpdate(opener, NULL, &length, transform + 20, 32), "decryption");
    must(EVP_DecryptUpdate(opener, transform + TRANSFORM, &length, transform + TRANSFORM, size - TRANSFORM), "decryption");
    must(EVP_CIPHER_CTX_ctrl(opener, EVP_CTRL_GCM_SET_TAG, 16, transform + 4), "decryption");
    must(EVP_DecryptFinal_ex(opener, transform + TRANSFORM + length, &length), "decryption (authentication tag)");
    return transform + TRANSFORM;
}

static void flush_output(struct link *link)
{
    size_t sent = 0;
    while (sent < link->output_used) {
        ssize_t count = send(link->connection, link->output + sent, link->output_used - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail("cannot send: %s", strerror(errno));
        sent += count;
    }
    link->output_used = 0;
}

/* Starts a message in the output buffer; returns where its header is. The caller fills in the body, `size` bytes. */
static uint8_t *begin_message(struct link *link, size_t size)
{
    if (link->output_used + NBT + TRANSFORM + HEADER + size > ROOM) flush_output(link);
    uint8_t *header = link->output + link->output_used + NBT + (mode == ENCRYPTED ? TRANSFORM : 0);
    memset(header, 0, HEADER + (size < 256 ? size : 256));
    return header;
}

static void finish_message(struct slot *slot, uint8_t *header, int command, size_t body, size_t payload)
{
    struct link *link = slot->link;
    unsigned charge = payload ? (payload - 1) / 65536 + 1 : 1;
    size_t size = HEADER + body;
    if (charge > link->credits) fail("out of credits: %u needed, %u left", charge, link->credits);
    memcpy(header, "\xfeSMB", 4);
    put16(header + 4, HEADER);
    put16(header + 6, charge);
    put16(header + 12, command);
    put16(header + 14, link->credits < 1024 ? charge + 64 : charge);
    put64(header + 24, link->message_id);
    put32(header + 36, link->tree_id);
    put64(header + 40, link->session_id);
    slot->message_id = link->message_id;
    slot->command = command;
    slot->busy = 1;
    link->message_id += charge;
    link->credits -= charge;
    /* A TREE_CONNECT is signed in any case (MS-SMB2 3.2.4.1.1). */
    if (mode == SIGNED || (mode == PLAIN && command == TREE_CONNECT)) {
        put32(header + 16, FLAG_SIGNED);
        uint8_t signature[16];
        gmac(link->signer, header, size, 0, signature);
        memcpy(header + 48, signature, 16);
    }
    if (mode == ENCRYPTED) {
        seal(link, header - TRANSFORM, size);
        size += TRANSFORM;
    }
    uint8_t *frame = link->output + link->output_used;
    frame[0] = 0, frame[1] = size >> 16, frame[2] = size >> 8, frame[3] = size;
    link->output_used += NBT + size;
}

static size_t put_name(uint8_t *at, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) put16(at + 2 * i, (uint8_t)name[i]);
    return 2 * length;
}

static void send_tree_connect(struct slot *slot, const char *path)
{
    uint8_t *header = begin_message(slot->link, 8 + 2 * strlen(path)), *body = header + HEADER;
    size_t length = put_name(body + 8, path);
    put16(body, 9);
    put16(body + 4, HEADER + 8);
    put16(body + 6, length);
    finish_message(slot, header, TREE_CONNECT, 8 + length, 0);
}

static void send_create(struct slot *slot, const char *name, uint32_t access, uint32_t disposition, uint32_t options)
{
    uint8_t *header = begin_message(slot->link, 57 + 2 * strlen(name)), *body = header + HEADER;
    size_t length = put_name(body + 56, name);
    put16(body, 57);
    put32(body + 4, 2);
    put32(body + 24, access);
    put32(body + 32, 7);
    put32(body + 36, disposition);
    put32(body + 40, options);
    put16(body + 44, HEADER + 56);
    put16(body + 46, length);
    finish_message(slot, header, CREATE, 56 + length, 0);
}

static void send_close(struct slot *slot)
{
    uint8_t *header = begin_message(slot->link, 24), *body = header + HEADER;
    put16(body, 24);
    memcpy(body + 8, slot->file_id, 16);
    finish_message(slot, header, CLOSE, 24, 0);
}

static void send_echo(struct slot *slot)
{
    uint8_t *header = begin_message(slot->link, 4);
    put16(header + HEADER, 4);
    finish_message(slot, header, ECHO, 4, 0);
}

static void send_read(struct slot *slot, uint32_t size)
{
    uint8_t *header = begin_message(slot->link, 49), *body = header + HEADER;
    put16(body, 49);
    body[2] = 0x50;
    put32(body + 4, size);
    put64(body + 8, slot->offset);
    memcpy(body + 16, slot->file_id, 16);
    finish_message(slot, header, READ, 49, size);
}

static void send_write(struct slot *slot, uint32_t size)
{
    uint8_t *header = begin_message(slot->link, 48 + size), *body = header + HEADER;
    put16(body, 49);
    put16(body + 2, HEADER + 48);
    put32(body + 4, size);
    put64(body + 8, slot->offset);
    memcpy(body + 16, slot->file_id, 16);
    memset(body + 48, 'w', size);
    finish_message(slot, header, WRITE, 48 + size, size);
}

static void send_query_info(struct slot *slot)
{
    uint8_t *header = begin_message(slot->link, 40), *body = header + HEADER;
    put16(body, 41);
    body[2] = 1;
    body[3] = 34; /* FileNetworkOpenInformation */
    put32(body + 4, 56);
    memcpy(body + 24, slot->file_id, 16);
    finish_message(slot, header, QUERY_INFO, 40, 56);
}

static void send_query_directory(struct slot *slot, int restart)
{
    uint8_t *header = begin_message(slot->link, 34), *body = header + HEADER;
    put16(body, 33);
    body[2] = 37; /* FileIdBothDirectoryInformation */
    body[3] = restart;
    memcpy(body + 8, slot->file_id, 16);
    put16(body + 24, HEADER + 32);
    put16(body + 26, 2);
    put32(body + 28, LIST_BUFFER);
    put16(body + 32, '*');
    finish_message(slot, header, QUERY_DIRECTORY, 34, LIST_BUFFER);
}

static void expect(const struct slot *slot, uint32_t status, uint32_t wanted)
{
    if (status != wanted) fail("command %d answered %08x, not %08x", slot->command, status, wanted);
}

static void take_file_id(struct slot *slot, const uint8_t *body, size_t size)
{
    if (size < 80) fail("CREATE response of %zu bytes", size);
    memcpy(slot->file_id, body + 64, 16);
}

/* Slots walk through the file in strides, each its own way, so that no two ask for the same place at once. */
static void advance(struct slot *slot, uint32_t size)
{
    slot->offset = (slot->offset + (uint64_t)size * MAX_DEPTH / 8) % DATA_FILE_SIZE;
}

static int data_done(struct slot *slot, const uint8_t *body, size_t size, uint32_t status, uint32_t wanted)
{
    expect(slot, status, 0);
    if (size < 16 || get32(body + 4) != wanted) fail("%u bytes asked for, %u answered", wanted, get32(body + 4));
    if (slot->command == READ && (body[2] < HEADER || body[2] - HEADER + (size_t)wanted > size)) fail("READ data is cut");
    return 1;
}

static void begin_read_4k(struct slot *slot) { advance(slot, 4096); send_read(slot, 4096); }
static void begin_write_4k(struct slot *slot) { advance(slot, 4096); send_write(slot, 4096); }
static void begin_read_1m(struct slot *slot) { advance(slot, 1 << 20); send_read(slot, 1 << 20); }
static void begin_write_1m(struct slot *slot) { advance(slot, 1 << 20); send_write(slot, 1 << 20); }
static int next_4k(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    return data_done(slot, body, size, status, 4096);
}
static int next_1m(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    return data_done(slot, body, size, status, 1 << 20);
}

static int next_echo(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    (void)body, (void)size;
    expect(slot, status, 0);
    return 1;
}

static void begin_open(struct slot *slot) { send_create(slot, "small", GENERIC_READ_DATA, FILE_OPEN, NON_DIRECTORY_FILE); }

static int next_open(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    expect(slot, status, 0);
    if (slot->command == CLOSE) return 1;
    take_file_id(slot, body, size);
    send_close(slot);
    return 0;
}

static void begin_stat(struct slot *slot) { send_create(slot, "small", 0x00100080, FILE_OPEN, 0); }

static int next_stat(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    expect(slot, status, 0);
    if (slot->command == CLOSE) return 1;
    if (slot->command == CREATE) {
        take_file_id(slot, body, size);
        send_query_info(slot);
        return 0;
    }
    if (size < 8 + 56 || get32(body + 4) != 56) fail("QUERY_INFO response of %zu bytes", size);
    send_close(slot);
    return 0;
}

static void begin_create(struct slot *slot)
{
    char name[32];
    snprintf(name, sizeof name, "made\\file%d", slot->index);
    send_create(slot, name, READ_WRITE | DELETE_ACCESS, FILE_CREATE, NON_DIRECTORY_FILE | DELETE_ON_CLOSE);
}

/* Each name is asked for once, by one process only, so that nobody can remember that it is not there. */
static void begin_missing(struct slot *slot)
{
    static unsigned asked;
    char name[48];
    snprintf(name, sizeof name, "crowd\\missing%d-%u", (int)getpid(), asked++);
    send_create(slot, name, 0x00100080, FILE_OPEN, 0);
}

static int next_missing(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    (void)body, (void)size;
    expect(slot, status, (uint32_t)STATUS_NOT_FOUND);
    return 1;
}

static void begin_list(struct slot *slot) { slot->entries = 0; send_query_directory(slot, 1); }

static int next_list(struct slot *slot, const uint8_t *body, size_t size, uint32_t status)
{
    if (status == (uint32_t)STATUS_NO_MORE_FILES) {
        if (slot->entries != current->entries) fail("%u directory entries, not %u", slot->entries, current->entries);
        return 1;
    }
    expect(slot, status, 0);
    if (size < 8) fail("QUERY_DIRECTORY response of %zu bytes", size);
    size_t at = get16(body + 2) - HEADER, end = at + get32(body + 4);
    for (size_t step = 1; step; at += step) {
        if (end > size || at + 4 > end) fail("directory entries are cut");
        step = get32(body + at);
        slot->entries++;
    }
    send_query_directory(slot, 0);
    return 0;
}

static const struct workload workloads[] = {
    {"echo", send_echo, next_echo, NULL, 0, 0},
    {"read4k", begin_read_4k, next_4k, "data", 0, 0},
    {"write4k", begin_write_4k, next_4k, "data", 0, 0},
    {"read1m", begin_read_1m, next_1m, "data", 0, 0},
    {"write1m", begin_write_1m, next_1m, "data", 0, 0},
    {"openclose", begin_open, next_open, NULL, 0, 0},
    {"stat", begin_stat, next_stat, NULL, 0, 0},
    {"createdelete", begin_create, next_open, NULL, 0, 0},
    {"missing", begin_missing, next_missing, NULL, 0, 0},
    {"list1000", begin_list, next_list, "list", 1, 1000 + 2},
    {"list10000", begin_list, next_list, "long", 1, 10000 + 2},
};

/* Receives what has come, at least something; all that was to be sent goes before. */
static void receive_some(struct link *link)
{
    size_t have = link->input_end - link->input_start;
    flush_output(link);
    if (link->input_start) memmove(link->input, link->input + link->input_start, have);
    ssize_t count;
    do count = recv(link->connection, link->input + have, ROOM - have, 0);
    while (count < 0 && errno == EINTR);
    if (count <= 0) fail("the server hung up: %s", count ? strerror(errno) : "end of stream");
    link->input_start = 0, link->input_end = have + count;
}

/* Takes the next whole frame out of what was received and returns the message in it, opened; NULL: there is none. */
static uint8_t *next_message(struct link *link, size_t *size)
{
    size_t have = link->input_end - link->input_start;
    if (have < NBT) return NULL;
    uint8_t *frame = link->input + link->input_start;
    size_t length = (size_t)frame[1] << 16 | frame[2] << 8 | frame[3];
    if (length > MAX_FRAME || length < HEADER) fail("frame of %zu bytes", length);
    if (have < NBT + length) return NULL;
    link->input_start += NBT + length;
    *size = length - (mode == ENCRYPTED ? TRANSFORM : 0);
    return mode == ENCRYPTED ? open_sealed(link->opener, frame + NBT, length) : frame + NBT;
}

static void check_signature(struct link *link, uint8_t *message, size_t size)
{
    uint8_t claimed[16], right[16];
    if (!(get32(message + 16) & FLAG_SIGNED)) fail("a reply is not signed");
    memcpy(claimed, message + 48, 16);
    memset(message + 48, 0, 16);
    gmac(link->signer, message, size, 1, right);
    if (memcmp(claimed, right, 16)) fail("a reply's signature is wrong");
}

static struct slot *slot_of(struct link *link, uint64_t message_id)
{
    for (int i = 0; i < MAX_DEPTH; i++)
        if (link->slots[i].busy && link->slots[i].message_id == message_id) return &link->slots[i];
    fail("reply to message %" PRIu64 ", which was not sent", message_id);
    return NULL;
}

/* Takes the next final reply out of what was received; 0: there is none. */
static int take_reply(struct link *link, struct reply *reply)
{
    size_t size;
    uint8_t *message;
    while ((message = next_message(link, &size))) {
        if (memcmp(message, "\xfeSMB", 4) || !(get32(message + 16) & FLAG_RESPONSE)) fail("not a reply");
        link->credits += get16(message + 14);
        if (get32(message + 8) == STATUS_PENDING && get32(message + 16) & FLAG_ASYNC) continue;
        if (mode == SIGNED) check_signature(link, message, size);
        struct slot *slot = slot_of(link, get64(message + 24));
        slot->busy = 0;
        if (slot->command == TREE_CONNECT) link->tree_id = get32(message + 36);
        *reply = (struct reply){slot, message + HEADER, size - HEADER, get32(message + 8)};
        return 1;
    }
    return 0;
}

/* Waits for a reply that must be a success, when nothing else is under way. */
static struct reply await_success(struct link *link)
{
    struct reply reply;
    while (!take_reply(link, &reply)) receive_some(link);
    expect(reply.slot, reply.status, 0);
    return reply;
}

static void prepare(struct link *link, const struct workload *work, int depth, const char *share)
{
    for (int i = 0; i < MAX_DEPTH; i++) {
        link->slots[i].link = link;
        link->slots[i].index = (int)(link - links) * depth + i;
        link->slots[i].offset = ((uint64_t)link->slots[i].index << 20) % DATA_FILE_SIZE;
    }
    send_tree_connect(&link->slots[0], share);
    await_success(link);
    for (int tries = 0; link->credits < 32 + 16u * depth; tries++) {
        if (tries == 100) fail("the server grants no more than %u credits", link->credits);
        send_echo(&link->slots[0]);
        await_success(link);
    }
    for (int i = 0; work->opens && i < depth; i++) {
        send_create(&link->slots[i], work->opens, work->directory ? GENERIC_READ_DATA : READ_WRITE, FILE_OPEN,
                    work->directory ? DIRECTORY_FILE : NON_DIRECTORY_FILE);
        struct reply reply = await_success(link);
        take_file_id(&link->slots[i], reply.body, reply.size);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double own_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Receives on all connections on which something has come; waits for one of them. */
static void receive_on_some(void)
{
    static struct pollfd waited[MAX_LINKS];
    if (links_used == 1) {
        receive_some(&links[0]);
        return;
    }
    for (int i = 0; i < links_used; i++) {
        flush_output(&links[i]);
        waited[i] = (struct pollfd){.fd = links[i].connection, .events = POLLIN};
    }
    if (poll(waited, links_used, -1) < 0 && errno != EINTR) fail("cannot wait: %s", strerror(errno));
    for (int i = 0; i < links_used; i++)
        if (waited[i].revents) receive_some(&links[i]);
}

static void run(const struct workload *work, int depth, double seconds)
{
    uint64_t done = 0;
    int under_way = depth * links_used;
    double used = own_seconds(), start = now(), end = start + seconds;
    for (int i = 0; i < under_way; i++) work->begin(&links[i / depth].slots[i % depth]);
    for (;;) {
        for (int i = 0; i < links_used; i++) {
            struct reply reply;
            while (take_reply(&links[i], &reply)) {
                if (!work->next(reply.slot, reply.body, reply.size, reply.status)) continue;
                done++;
                if (now() < end) work->begin(reply.slot);
                else under_way--;
            }
        }
        if (!under_way) break;
        receive_on_some();
    }
    printf("%" PRIu64 " %.6f %.6f\n", done, now() - start, own_seconds() - used);
    fflush(stdout);
}

static EVP_CIPHER_CTX *make_cipher(const char *text, int encrypt)
{
    uint8_t key[16];
    for (int i = 0; i < 16; i++)
        if (sscanf(text + 2 * i, "%2hhx", &key[i]) != 1) fail("not a key of 16 bytes: %s", text);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    must(context && EVP_CipherInit_ex(context, EVP_aes_128_gcm(), NULL, key, NULL, encrypt), "AES-128-GCM");
    return context;
}

static void make_link(struct link *link, const char *text)
{
    char signing_key[33], sending_key[33], receiving_key[33];
    int on = 1;
    if (sscanf(text, "%d:%" SCNx64 ":%" SCNu64 ":%32[^:]:%32[^:]:%32[^:]", &link->connection, &link->session_id,
               &link->message_id, signing_key, sending_key, receiving_key) != 6)
        fail("not a connection: %s", text);
    link->credits = 1; /* at least: what is granted beyond is seen in the replies */
    link->signer = make_cipher(signing_key, 1);
    link->sealer = make_cipher(sending_key, 1);
    link->opener = make_cipher(receiving_key, 0);
    link->output = malloc(ROOM);
    link->input = malloc(ROOM);
    if (!link->output || !link->input) fail("out of memory");
    setsockopt(link->connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int main(int count, char **arguments)
{
    if (count < 7 || count > 6 + MAX_LINKS) fail("is started by the benchmark, with 1 to %d connections", MAX_LINKS);
    const struct workload *work = NULL;
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (!strcmp(workloads[i].name, arguments[2])) work = &workloads[i];
    int depth = atoi(arguments[3]);
    current = work;
    if (!work || depth < 1 || depth > MAX_DEPTH) fail("workload %s at depth %s", arguments[2], arguments[3]);
    mode = !strcmp(arguments[1], "encrypted") ? ENCRYPTED : !strcmp(arguments[1], "signed") ? SIGNED : PLAIN;
    for (links_used = 0; links_used < count - 6; links_used++) {
        make_link(&links[links_used], arguments[6 + links_used]);
        prepare(&links[links_used], work, depth, arguments[5]);
    }
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    run(work, depth, atof(arguments[4]));
    while (getchar() != EOF) continue;
    return 0;
}
