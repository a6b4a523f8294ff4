/* A convolution in C, and a reader of the golden files that it is checked with, from Python nothing at all:

       npconv cases conv2d -o golden
       cc -O2 -o conv2d examples/golden/conv2d.c && ./conv2d golden
       npconv check --results golden

   For every line of golden/problems.txt it reads x.npy, w.npy and b.npy and writes y.got.bin. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one function that is checked: y (n, o, p, q) of x (n, c, h, w), w (o, c / groups, r, s) and b (o) or NULL. */
static void conv2d(const float *x, const float *w, const float *b, float *y, const int xs[4], const int ws[4],
                   const int ys[4], const int stride[2], const int padding[4], const int dilation[2], int groups)
{
    int per_group = ws[0] / groups;
    for (int n = 0; n < ys[0]; n++)
        for (int o = 0; o < ys[1]; o++)
            for (int p = 0; p < ys[2]; p++)
                for (int q = 0; q < ys[3]; q++) {
                    float sum = b ? b[o] : 0;
                    for (int c = 0; c < ws[1]; c++)
                        for (int r = 0; r < ws[2]; r++)
                            for (int s = 0; s < ws[3]; s++) {
                                int row = p * stride[0] + r * dilation[0] - padding[0];
                                int column = q * stride[1] + s * dilation[1] - padding[2];
                                if (row < 0 || row >= xs[2] || column < 0 || column >= xs[3])
                                    continue;
                                int channel = o / per_group * ws[1] + c;
                                sum += x[((n * xs[1] + channel) * xs[2] + row) * xs[3] + column] *
                                       w[((o * ws[1] + c) * ws[2] + r) * ws[3] + s];
                            }
                    y[((n * ys[1] + o) * ys[2] + p) * ys[3] + q] = sum;
                }
}

/* The numbers of a .npy file of floats: 10 bytes, the last two of which are the length of the header that follows. */
static float *numbers(const char *folder, const char *name, const char *array)
{
    char path[4096];
    unsigned char start[10];
    snprintf(path, sizeof path, "%s/%s/%s.npy", folder, name, array);
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10)
        exit(2);
    long header = 10 + start[8] + 256 * start[9];
    fseek(file, 0, SEEK_END);
    long size = ftell(file) - header;
    float *found = malloc(size + 4);
    fseek(file, header, SEEK_SET);
    if (fread(found, 1, size, file) != (size_t)size)
        exit(2);
    fclose(file);
    return found;
}

/* The numbers of a word such as stride=1,2; 0 where the line has no such word. */
static int option(const char *line, const char *name, int *values)
{
    char word[64];
    snprintf(word, sizeof word, " %s=", name);
    const char *found = strstr(line, word);
    int count = 0;
    for (char *next = found ? (char *)found + strlen(word) : NULL; next && count < 4; count++) {
        values[count] = (int)strtol(next, &next, 10);
        if (*next++ != ',')
            return count + 1;
    }
    return count;
}

int main(int argc, char **argv)
{
    char path[4096], line[4096], name[64];
    if (argc != 2)
        return 2;
    snprintf(path, sizeof path, "%s/problems.txt", argv[1]);
    FILE *problems = fopen(path, "r");
    if (!problems)
        return 2;
    while (fgets(line, sizeof line, problems)) {
        int xs[4], ws[4], ys[4], bs[4], stride[4], padding[4], dilation[4], groups = 1;
        sscanf(line, "%63s", name);
        option(line, "x", xs), option(line, "w", ws), option(line, "dy", ys);
        if (option(line, "stride", stride) != 2)
            stride[0] = stride[1] = 1;
        if (option(line, "dilation", dilation) != 2)
            dilation[0] = dilation[1] = 1;
        if (option(line, "padding", padding) != 4)
            memset(padding, 0, sizeof padding);
        option(line, "groups", &groups);
        float *x = numbers(argv[1], name, "x"), *w = numbers(argv[1], name, "w");
        float *b = option(line, "b", bs) ? numbers(argv[1], name, "b") : NULL;
        size_t size = (size_t)ys[0] * ys[1] * ys[2] * ys[3];
        float *y = malloc(4 * size + 4);
        conv2d(x, w, b, y, xs, ws, ys, stride, padding, dilation, groups);
        snprintf(path, sizeof path, "%s/%s/y.got.bin", argv[1], name);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(y, 4, size, file) != size)
            return 2;
        fclose(file);
        free(x), free(w), free(b), free(y);
    }
    fclose(problems);
    return 0;
}
