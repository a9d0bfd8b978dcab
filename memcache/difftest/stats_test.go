package difftest_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/evmq/evmq/memcache/difftest"
)

// counted is what both servers do before they are asked what they have counted.
const counted = "set a 0 0 1\r\n1\r\nset b 0 0 5\r\nhello\r\nget a b missing\r\ngets a\r\nincr a 1\r\nincr missing 1\r\ndecr a 1\r\ndecr missing 1\r\n" +
	"cas a 0 0 1 1000000001\r\n1\r\ncas missing 0 0 1 1000000001\r\n1\r\ntouch a 0\r\ntouch missing 0\r\ngat 0 b\r\ndelete missing\r\n" +
	"add c 0 0 1\r\n1\r\nadd c 0 0 1\r\n1\r\ndelete c\r\nmg a v\r\nmg missing v\r\nms d 1\r\n1\r\nmd d\r\nma a\r\nma missing\r\nmn\r\n"

// reports are the statistics that clients and monitors read. What both servers have to say, word for word, is in equal.
var reports = []struct{ command, names, equal string }{
	{
		"stats",
		`pid uptime time version pointer_size rusage_user rusage_system max_connections curr_connections total_connections
		rejected_connections connection_structures bytes_read bytes_written hash_power_level hash_bytes bytes threads cmd_meta crawler_reclaimed`,
		`cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses get_expired get_flushed delete_misses delete_hits incr_misses
		incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses auth_cmds auth_errors limit_maxbytes
		accepting_conns listen_disabled_num conn_yields curr_items total_items evictions
		expired_unfetched evicted_unfetched reclaimed hash_is_expanding malloc_fails`,
	},
	{
		"stats settings",
		`maxbytes maxconns tcpport udpport inter verbosity oldest evictions domain_socket umask num_threads tcp_backlog
		binding_protocol`,
		`maxbytes item_size_max cas_enabled evictions flush_enabled dump_enabled verbosity domain_socket umask auth_enabled_sasl
		auth_enabled_ascii maxconns_fast`,
	},
	{
		"stats items",
		"items:N:age items:N:mem_requested items:N:evicted_time",
		`items:N:number items:N:evicted items:N:evicted_nonzero items:N:evicted_unfetched items:N:expired_unfetched
		items:N:reclaimed items:N:outofmemory`,
	},
	{
		"stats slabs",
		`N:chunk_size N:chunks_per_page N:total_pages N:total_chunks N:free_chunks active_slabs total_malloced`,
		`N:used_chunks N:free_chunks_end N:get_hits N:cmd_set N:delete_hits N:incr_hits N:decr_hits N:cas_hits N:cas_badval N:touch_hits`,
	},
	{"stats sizes", "", ""}, // by default memcached says that it does not count them
	{"stats conns", "N:addr N:listen_addr N:state N:secs_since_last_cmd", ""},
}

// TestStatistics holds the names, and what must be counted alike.
func TestStatistics(t *testing.T) {
	t.Parallel()
	servers := []*daemon{startMemcached(t), startEvcached(t)}
	for _, d := range servers {
		_, err := difftest.Stream(d.addr, []byte(counted), len(counted))
		must(t, err)
	}
	for _, report := range reports {
		t.Run(strings.ReplaceAll(report.command, " ", "-"), func(t *testing.T) {
			var answers []map[string]string
			for _, d := range servers {
				have := statistics(t, d, report.command)
				answers = append(answers, have)
				for _, name := range strings.Fields(report.names + " " + report.equal) {
					if _, ok := have[name]; !ok {
						t.Errorf("%s has no %s", d.name, name)
					}
				}
			}
			for _, name := range strings.Fields(report.equal) {
				if want, got := answers[0][name], answers[1][name]; want != got {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

var leadingNumber = regexp.MustCompile(`(^|:)\d+:`)

// statistics are what a report says, by name; the number of a class or a connection is N, and the sum over the classes is told.
func statistics(t *testing.T, d *daemon, command string) map[string]string {
	t.Helper()
	answer, err := difftest.Stream(d.addr, []byte(command+"\r\n"), 1<<10)
	must(t, err)
	text := strings.Split(string(answer), "\r\n")
	if len(text) < 2 || text[len(text)-2] != "END" {
		t.Fatalf("%s: %s: the answer does not end: %q", d.name, command, answer)
	}
	have := map[string]string{}
	for _, line := range text[:len(text)-2] {
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 || words[0] != "STAT" {
			t.Errorf("%s: %s: %q is no statistic", d.name, command, line)
			continue
		}
		name, value := leadingNumber.ReplaceAllString(words[1], "${1}N:"), words[2]
		before, err1 := strconv.Atoi(have[name])
		n, err2 := strconv.Atoi(value)
		if err1 == nil && err2 == nil {
			value = strconv.Itoa(before + n)
		}
		have[name] = value
	}
	return have
}

// TestStatisticsAreTheSameInBinary holds the binary protocol's reports to the text protocol's.
func TestStatisticsAreTheSameInBinary(t *testing.T) {
	t.Parallel()
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		for _, report := range reports {
			_, sub, _ := strings.Cut(report.command, " ")
			if sub == "conns" {
				continue // has no binary form
			}
			request := difftest.Frame{Magic: difftest.RequestMagic, Op: 0x10, Key: []byte(sub), Opaque: 7}.Append(nil)
			answer, err := difftest.Stream(d.addr, request, len(request))
			must(t, err)
			var names []string
			for {
				f, taken := difftest.DecodeFrame(answer)
				if taken == 0 || f.Opaque != 7 || f.Status != 0 {
					t.Fatalf("%s: %s: no end, or a bad frame, in %q", d.name, report.command, answer)
				}
				if len(f.Key) == 0 {
					break
				}
				answer = answer[taken:]
				names = append(names, leadingNumber.ReplaceAllString(string(f.Key), "${1}N:"))
			}
			for name := range statistics(t, d, report.command) {
				if !slices.Contains(names, name) {
					t.Errorf("%s: %s: %s is not in the binary protocol's", d.name, report.command, name)
				}
			}
		}
	}
}
