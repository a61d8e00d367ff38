/* Starts the engine and waits for it, on the real device or on a stand-in: the program is the same.
 *
 *     cc -o engine engine.c
 *     ./engine /dev/uio0 /sys/class/uio/uio0
 *     devregs serve-mock engine.toml --exec ./engine {root}/dev/uio0 {root}/sys/class/uio/uio0
 */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CTRL = 0x00, STATUS = 0x04, EVENTS = 0x08, ACK = 0x0c, NOTE = 0x20 };

static volatile uint32_t *registers;

static uint32_t get(int offset) { return registers[offset / 4]; }
static void put(int offset, uint32_t value) { registers[offset / 4] = value; }

/* A number that sysfs tells of map 0. */
static unsigned long number(const char *sysfs, const char *name)
{
    char path[4096];
    unsigned long value = 0;
    snprintf(path, sizeof path, "%s/maps/map0/%s", sysfs, name);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lx", &value) != 1)
        perror(path);
    if (file)
        fclose(file);
    return value;
}

/* Waits until the bits under a mask are so; 0 if they are not within two seconds. */
static int wait_for(int offset, uint32_t mask, uint32_t value)
{
    struct timespec nap = { .tv_nsec = 1000000 };
    for (int tries = 0; tries < 2000; tries++) {
        if ((get(offset) & mask) == value)
            return 1;
        nanosleep(&nap, NULL);
    }
    fprintf(stderr, "register 0x%02x is 0x%08x\n", offset, get(offset));
    return 0;
}

int main(int count, char **words)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s /dev/uioN /sys/class/uio/uioN\n", words[0]);
        return 2;
    }
    int file = open(words[1], O_RDWR);
    unsigned long size = number(words[2], "size"), offset = number(words[2], "offset");
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || start == MAP_FAILED) {
        perror(words[1]);
        return 1;
    }
    registers = (volatile uint32_t *)(start + offset);

    put(CTRL, 0x31);                       /* MODE 3, START */
    if (!wait_for(CTRL, ~0u, 0x30))        /* START clears itself */
        return 1;
    if (!wait_for(EVENTS, 1, 1))           /* DONE */
        return 1;
    printf("run %u is done\n", get(STATUS) >> 8 & 0xff);
    put(NOTE, 0xc0ffee);
    put(ACK, 0);
    return wait_for(EVENTS, 1, 0) ? 0 : 1;
}
