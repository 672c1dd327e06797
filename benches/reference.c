/* The floor that the loads are measured against: libpcap's file reader and nothing else.
 * cc -O2 -o reference reference.c -lpcap; ./reference FILE */
#include <pcap/pcap.h>
#include <stdio.h>

int main(int argc, char **argv) {
    char error[PCAP_ERRBUF_SIZE];
    struct pcap_pkthdr *header;
    const unsigned char *bytes;
    unsigned long packets = 0, wire_bytes = 0, touched = 0;
    pcap_t *capture = argc == 2 ? pcap_open_offline(argv[1], error) : NULL;
    if (!capture) {
        fprintf(stderr, "reference: %s\n", argc == 2 ? error : "give one capture file");
        return 2;
    }
    while (pcap_next_ex(capture, &header, &bytes) == 1) {
        packets++;
        wire_bytes += header->len;
        touched += bytes[0];
    }
    printf("%lu packets, %lu bytes (%lu)\n", packets, wire_bytes, touched);
    return 0;
}
