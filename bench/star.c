/* The star with the fewest system calls: the floor that nsprov is measured against.
 *
 *   star [--full] up N     build it
 *   star [--full] down N   drop every pin, delete the links by their group
 *   star barrier           return when the kernel has destroyed every network namespace that was dropped so far
 *
 * --full also does what nsprov does by default: each node gets a UTS and a mount namespace, pinned as well.
 * Any error, one of netlink's included, ends the program with status 1.  gcc -O2 -Wall -Wextra -o star star.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32           /* namespaces per sendmsg */
#define GROUP 5741         /* the group of every link of the star in the host */
#define PINS "/run/star-pins"
#define FILES "/run/star-files"
#define GATEWAY 0x0a400001u /* 10.64.0.1 */
#define RESOLV "nameserver 10.64.0.1\n"

static void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	fputs("star: ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(error));
	va_end(args);
	exit(1);
}

#define CHECK(call) check((call), #call)

static int check(int result, const char *what)
{
	if (result < 0)
		die("%s", what);
	return result;
}

static const char *path(const char *format, ...)
{
	static char buffers[4][128];
	static unsigned int turn;
	char *buffer = buffers[turn++ % 4];
	va_list args;

	va_start(args, format);
	vsnprintf(buffer, sizeof(buffers[0]), format, args);
	va_end(args);
	return buffer;
}

static void make_directory(const char *name)
{
	if (mkdir(name, 0755) < 0 && errno != EEXIST)
		die("mkdir %s", name);
}

static void write_file(const char *name, const char *text, size_t length)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		die("write %s", name);
	close(fd);
}

/* ---- netlink: messages are gathered in one buffer and sent together; only the last one asks for an answer ---- */

static char batch[BATCH * 512] __attribute__((aligned(8)));
static size_t used;
static struct nlmsghdr *message;
static unsigned int sequence;

static void *message_start(int type, int flags, size_t header_size)
{
	message = (struct nlmsghdr *)(batch + used);
	if (used + 512 > sizeof(batch)) {
		errno = ENOBUFS;
		die("batch");
	}
	memset(message, 0, NLMSG_SPACE(header_size));
	message->nlmsg_len = NLMSG_SPACE(header_size);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = ++sequence;
	return NLMSG_DATA(message);
}

static void message_end(void)
{
	used += NLMSG_ALIGN(message->nlmsg_len);
}

static void attribute(int type, const void *value, size_t length)
{
	struct rtattr *attr = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = RTA_LENGTH(length);
	memcpy(RTA_DATA(attr), value, length);
	message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(attr->rta_len);
}

static void attribute_u32(int type, unsigned int value)
{
	attribute(type, &value, sizeof(value));
}

static void attribute_string(int type, const char *value)
{
	attribute(type, value, strlen(value) + 1);
}

static struct rtattr *nest_start(int type)
{
	struct rtattr *nest = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));

	attribute(type, "", 0);
	return nest;
}

static void nest_end(struct rtattr *nest)
{
	nest->rta_len = (char *)message + message->nlmsg_len - (char *)nest;
}

static int netlink_socket(void)
{
	int one = 1;
	int sock = CHECK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));

	setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return sock;
}

/* The kernel answers every message that failed, and the last one in any case. */
static void transact(int sock)
{
	static char answer[32768] __attribute__((aligned(8)));
	unsigned int last = message->nlmsg_seq;

	message->nlmsg_flags |= NLM_F_ACK;
	if (send(sock, batch, used, 0) != (ssize_t)used)
		die("netlink send");
	used = 0;
	for (;;) {
		int length = CHECK(recv(sock, answer, sizeof(answer), 0));
		struct nlmsghdr *header = (struct nlmsghdr *)answer;

		for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
			struct nlmsgerr *result = NLMSG_DATA(header);

			if (header->nlmsg_type != NLMSG_ERROR)
				continue;
			if (result->error) {
				errno = -result->error;
				die("netlink message %u (type %d)", header->nlmsg_seq, result->msg.nlmsg_type);
			}
			if (header->nlmsg_seq == last)
				return;
		}
	}
}

static int interface_index(int sock, const char *name)
{
	struct ifreq request = {0};

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	return ioctl(sock, SIOCGIFINDEX, &request) < 0 ? -1 : request.ifr_ifindex;
}

static void put_link_up(int index)
{
	struct ifinfomsg *link = message_start(RTM_NEWLINK, 0, sizeof(*link));

	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	message_end();
}

static void put_address(int index, unsigned int address)
{
	struct ifaddrmsg *header = message_start(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*header));

	header->ifa_family = AF_INET;
	header->ifa_prefixlen = 16;
	header->ifa_index = index;
	attribute_u32(IFA_LOCAL, htonl(address));
	attribute_u32(IFA_ADDRESS, htonl(address));
	message_end();
}

static void put_default_route(int index)
{
	struct rtmsg *route = message_start(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*route));

	route->rtm_family = AF_INET;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_BOOT;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	attribute_u32(RTA_GATEWAY, htonl(GATEWAY));
	attribute_u32(RTA_OIF, index);
	message_end();
}

static void put_bridge(const char *name)
{
	struct rtattr *info;

	message_start(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	attribute_string(IFLA_IFNAME, name);
	attribute_u32(IFLA_GROUP, GROUP);
	info = nest_start(IFLA_LINKINFO); /* stp is off unless asked for */
	attribute_string(IFLA_INFO_KIND, "bridge");
	nest_end(info);
	message_end();
}

/* Both ends in place: a move between namespaces would wait for an RCU barrier under the rtnl lock. */
static void put_veth(const char *name, const char *peer_name, int peer_netns, int master)
{
	struct ifinfomsg *link = message_start(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
	struct ifinfomsg peer_header = {0};
	struct rtattr *info, *data, *peer;

	attribute_string(IFLA_IFNAME, name);
	attribute_u32(IFLA_GROUP, GROUP);
	attribute_u32(IFLA_NUM_TX_QUEUES, 1);
	attribute_u32(IFLA_NUM_RX_QUEUES, 1);
	if (master) {
		link->ifi_flags = link->ifi_change = IFF_UP;
		attribute_u32(IFLA_MASTER, master);
	}
	info = nest_start(IFLA_LINKINFO);
	attribute_string(IFLA_INFO_KIND, "veth");
	data = nest_start(IFLA_INFO_DATA);
	peer = nest_start(VETH_INFO_PEER);
	memcpy((char *)message + message->nlmsg_len, &peer_header, sizeof(peer_header));
	message->nlmsg_len += sizeof(peer_header);
	attribute_string(IFLA_IFNAME, peer_name);
	attribute_u32(IFLA_NUM_TX_QUEUES, 1);
	attribute_u32(IFLA_NUM_RX_QUEUES, 1);
	attribute_u32(IFLA_NET_NS_FD, peer_netns);
	nest_end(peer);
	nest_end(data);
	nest_end(info);
	message_end();
}

/* ---- namespaces ---- */

static int host_mounts, template_mounts; /* --full: mount namespaces */

/* A mount namespace without pins and without the host's /sys, to clone each node's from. */
static void make_template(int count)
{
	char *hosts = malloc(64 * (size_t)count + 64);
	size_t length = sprintf(hosts, "127.0.0.1 localhost\n");

	for (int i = 1; i <= count; i++)
		length += sprintf(hosts + length, "10.64.%d.%d h%d\n", (i + 1) / 256, (i + 1) % 256, i);
	make_directory(FILES);
	write_file(FILES "/hosts", hosts, length);
	free(hosts);
	close(CHECK(open("/etc/hostname", O_RDONLY | O_CREAT | O_CLOEXEC, 0644)));
	host_mounts = CHECK(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
	CHECK(unshare(CLONE_NEWNS));
	CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK(umount2("/sys", MNT_DETACH));
	CHECK(mount(FILES "/hosts", "/etc/hosts", NULL, MS_BIND, NULL));
	template_mounts = CHECK(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
	CHECK(setns(host_mounts, CLONE_NEWNS));
}

static void pin(const char *source, const char *target)
{
	if (mknod(target, S_IFREG, 0) < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
		die("pin %s", target);
}

static void enter_full_node(int number)
{
	const char *name = path("h%d", number);
	const char *hostname = path("/etc/netns/h%d/hostname", number);
	int mounts;

	CHECK(setns(template_mounts, CLONE_NEWNS));
	CHECK(unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS));
	CHECK(sethostname(name, strlen(name)));
	write_file(hostname, path("h%d\n", number), strlen(name) + 1);
	CHECK(mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	CHECK(mount(path("/etc/netns/h%d/resolv.conf", number), "/etc/resolv.conf", NULL, MS_BIND, NULL));
	CHECK(mount(hostname, "/etc/hostname", NULL, MS_BIND, NULL));
	mounts = CHECK(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
	CHECK(setns(host_mounts, CLONE_NEWNS));
	pin(path("/proc/self/fd/%d", mounts), path(PINS "/h%d.mnt", number));
	pin("/proc/self/ns/uts", path(PINS "/h%d.uts", number));
	close(mounts);
}

/* Enter a new node; return a descriptor of its network namespace, and a netlink socket inside it. */
static int make_node(int number, int full, int *sock)
{
	const char *pinned = path(PINS "/h%d", number);

	CHECK(mkdir(path("/etc/netns/h%d", number), 0755));
	write_file(path("/etc/netns/h%d/resolv.conf", number), RESOLV, strlen(RESOLV));
	if (full)
		enter_full_node(number);
	else
		CHECK(unshare(CLONE_NEWNET));
	*sock = netlink_socket();
	pinned = path(PINS "/h%d", number);
	pin("/proc/self/ns/net", pinned);
	CHECK(symlink(pinned, path("/run/netns/h%d", number)));
	return CHECK(open(pinned, O_RDONLY | O_CLOEXEC));
}

static void up(int count, int full)
{
	int sockets[BATCH], namespaces[BATCH];
	int host = netlink_socket();
	int eth0 = 0, bridge;

	make_directory("/run/netns");
	make_directory("/etc/netns");
	make_directory(PINS);
	if (full)
		make_template(count);
	CHECK(mount("star", PINS, "tmpfs", 0, "mode=755"));
	CHECK(mount("none", PINS, NULL, MS_PRIVATE, NULL));
	put_bridge("br0");
	transact(host);
	bridge = CHECK(interface_index(host, "br0"));
	for (int first = 1; first <= count; first += BATCH) {
		int size = count - first + 1 < BATCH ? count - first + 1 : BATCH;

		for (int i = 0; i < size; i++) {
			namespaces[i] = make_node(first + i, full, &sockets[i]);
			put_veth(path("v%d", first + i), "eth0", namespaces[i], bridge);
		}
		transact(host);
		for (int i = 0; i < size; i++) {
			if (!eth0) /* the same in every new namespace */
				eth0 = CHECK(interface_index(sockets[i], "eth0"));
			put_link_up(1);
			put_link_up(eth0);
			put_address(eth0, GATEWAY + first + i);
			put_default_route(eth0);
			transact(sockets[i]);
			close(sockets[i]);
			close(namespaces[i]);
		}
	}
	put_address(bridge, GATEWAY);
	put_link_up(bridge); /* last: each new port would hear the neighbour discovery of all others */
	transact(host);
}

static void down(int count, int full)
{
	int host = netlink_socket();

	CHECK(umount2(PINS, MNT_DETACH));
	CHECK(rmdir(PINS));
	for (int i = 1; i <= count; i++) {
		CHECK(unlink(path("/run/netns/h%d", i)));
		CHECK(unlink(path("/etc/netns/h%d/resolv.conf", i)));
		if (full)
			CHECK(unlink(path("/etc/netns/h%d/hostname", i)));
		CHECK(rmdir(path("/etc/netns/h%d", i)));
	}
	if (full) {
		CHECK(unlink(FILES "/hosts"));
		CHECK(rmdir(FILES));
	}
	message_start(RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	attribute_u32(IFLA_GROUP, GROUP);
	message_end();
	transact(host); /* answers when the links are gone */
}

/* Namespaces are destroyed one batch after the other: when a new one's link has gone, so have all before it. */
static void barrier(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int host_namespace, node, host;

	CHECK(unshare(CLONE_NEWNET));
	host = netlink_socket();
	host_namespace = CHECK(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	CHECK(unshare(CLONE_NEWNET));
	node = CHECK(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	put_veth("barrier", "eth0", node, 0);
	transact(host);
	close(node);
	CHECK(setns(host_namespace, CLONE_NEWNET));
	while (interface_index(host, "barrier") >= 0)
		nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
	int full = argc > 1 && !strcmp(argv[1], "--full");
	const char *verb = argc > 1 + full ? argv[1 + full] : "";
	int count = argc > 2 + full ? atoi(argv[2 + full]) : 0;

	if (!strcmp(verb, "up") && count > 0 && count < 65000)
		up(count, full);
	else if (!strcmp(verb, "down") && count > 0)
		down(count, full);
	else if (!strcmp(verb, "barrier"))
		barrier();
	else {
		fputs("usage: star [--full] up|down N, or star barrier\n", stderr);
		return 2;
	}
	return 0;
}
