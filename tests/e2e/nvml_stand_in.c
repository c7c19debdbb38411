/* Stands in for NVIDIA's management library: two GPUs with known figures, for tests of everything behind it.
 *
 * The file that NVIDIA_STAND_IN names says more, a line each: "lost 1" (GPU 1 has fallen off the bus), "PID SM MEM"
 * (what a process uses of GPU 0, in %). Signatures: NVIDIA's nvml.h, API version 12.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { GPUS = 2, MOST = 64 };

typedef struct { int number; } gpu_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } rates_t;
typedef struct {
    unsigned pid;
    unsigned long long time_us;
    unsigned sm, memory, encoder, decoder;
} process_t;

static gpu_t gpus[GPUS] = {{0}, {1}};

static int read_file(process_t *found, unsigned *count)
{
    int lost = -1;
    unsigned a, b, c;
    char line[128];
    const char *path = getenv("NVIDIA_STAND_IN");
    FILE *file = path ? fopen(path, "r") : NULL;
    *count = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "lost %u", &a) == 1)
            lost = (int)a;
        else if (sscanf(line, "%u %u %u", &a, &b, &c) == 3 && *count < MOST)
            found[(*count)++] = (process_t){a, 1, b, c, 0, 0};
    }
    if (file)
        fclose(file);
    return lost;
}

static int is_lost(const gpu_t *gpu)
{
    process_t found[MOST];
    unsigned count;
    return read_file(found, &count) == gpu->number;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "stand-in"; }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu)
{
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(gpu_t *gpu, char *name, unsigned length)
{
    snprintf(name, length, "Stand-in %d", gpu->number);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *memory)
{
    unsigned long long total = (8ULL << 30) * (unsigned)(gpu->number + 1);
    *memory = (memory_t){total, total / 4 * 3, total / 4};
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(gpu_t *gpu, rates_t *rates)
{
    if (is_lost(gpu))
        return GPU_IS_LOST;
    *rates = (rates_t){40u + 20u * (unsigned)gpu->number, 5};
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(gpu_t *gpu, int which, unsigned *mhz)
{
    *mhz = which == 1 ? 1350u + 100u * (unsigned)gpu->number : 7; /* 1: the SMs' */
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(gpu_t *gpu, unsigned *milliwatts)
{
    *milliwatts = 61500;
    return gpu->number == 0 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetProcessUtilization(gpu_t *gpu, process_t *samples, unsigned *count, unsigned long long since_us)
{
    process_t found[MOST];
    unsigned here, room = *count;
    (void)since_us;
    read_file(found, &here);
    if (gpu->number != 0 || here == 0)
        return NOT_SUPPORTED;
    *count = here;
    if (!samples || room < here)
        return INSUFFICIENT_SIZE;
    memcpy(samples, found, here * sizeof *samples);
    return SUCCESS;
}
