package difftest_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// counted are the requests that both servers execute before their statistics are compared.
const counted = "set a 0 0 1\r\n1\r\nset b 0 0 5\r\nhello\r\nget a b missing\r\ngets a\r\nincr a 1\r\nincr missing 1\r\ndecr a 1\r\ndecr missing 1\r\n" +
	"cas a 0 0 1 1000000001\r\n1\r\ncas missing 0 0 1 1000000001\r\n1\r\ntouch a 0\r\ntouch missing 0\r\ngat 0 b\r\ndelete missing\r\n" +
	"add c 0 0 1\r\n1\r\nadd c 0 0 1\r\n1\r\ndelete c\r\nmg a v\r\nmg missing v\r\nms d 1\r\n1\r\nmd d\r\nma a\r\nma missing\r\nmn\r\n"

// reports are the statistics that clients and monitors read, and those whose values both servers have to have in common.
var reports = []struct{ command, equal string }{
	{
		"stats",
		`cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses get_expired get_flushed delete_misses delete_hits incr_misses
		incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses auth_cmds auth_errors limit_maxbytes
		accepting_conns listen_disabled_num conn_yields curr_items total_items evictions version
		expired_unfetched evicted_unfetched reclaimed hash_is_expanding malloc_fails`,
	},
	{
		"stats settings",
		`maxbytes item_size_max cas_enabled evictions flush_enabled dump_enabled verbosity domain_socket umask auth_enabled_sasl
		auth_enabled_ascii maxconns_fast`,
	},
	{
		"stats items",
		`items:N:number items:N:evicted items:N:evicted_nonzero items:N:evicted_unfetched items:N:expired_unfetched
		items:N:reclaimed items:N:outofmemory`,
	},
	{
		"stats slabs",
		`N:used_chunks N:free_chunks_end N:get_hits N:cmd_set N:delete_hits N:incr_hits N:decr_hits N:cas_hits N:cas_badval N:touch_hits`,
	},
	{"stats sizes", ""},
	{"stats conns", ""},
}

// TestStatistics compares the statistics that must be equal.
func TestStatistics(t *testing.T) {
	t.Parallel()
	servers := []*daemon{startMemcached(t), startEvcached(t)}
	for _, d := range servers {
		_, err := difftest.Stream(d.addr, []byte(counted), len(counted))
		testkit.Must(t, err)
	}
	for _, report := range reports {
		t.Run(strings.ReplaceAll(report.command, " ", "-"), func(t *testing.T) {
			want, _ := statistics(t, servers[0], report.command)
			got, _ := statistics(t, servers[1], report.command)
			for _, name := range strings.Fields(report.equal) {
				if want, ok := want[name]; !ok || got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

// ours are the statistics that memcached does not have.
var ours = map[string]string{"evmq_version": "the release of this module; version is memcached's"}

// preparation is the arguments of two servers, and the requests that they receive before their statistics are compared.
type preparation struct {
	args     string
	auth     string // the input by which a client authenticates; it is answered with a line
	commands string
	until    string // the setting and its value that show that the commands have had their effect
}

var preparations = map[string]preparation{
	"defaults":           {},
	"no LRU maintainer":  {args: "-o no_lru_maintainer"},
	"no crawler":         {args: "-o no_lru_crawler,no_slab_reassign"},
	"waiting clients":    {args: "-o no_maxconns_fast,idle_timeout=100"},
	"sizes":              {args: "-o track_sizes"},
	"sizes by a command": {commands: "stats sizes_enable\r\n"},
	"no unique numbers":  {args: "-C -M -F -X -B ascii"},
	"crawler disabled":   {commands: "lru_crawler disable\r\n", until: "lru_crawler no"},
	"temporary items":    {commands: "lru temp_ttl 60\r\nlru tune 10 20 0.5 3\r\nslabs automove ratio 0.5\r\nlru mode flat\r\n"},
	"users":              {args: "-Y testdata/users.txt", auth: "set u 0 0 10\r\nann secret\r\n"},
}

// start starts a server and sends it the requests of the preparation, and those to be counted.
func (p *preparation) start(t *testing.T, path string) *daemon {
	t.Helper()
	d := start(t, path, strings.Fields(p.args)...)
	out := []byte(p.auth + p.commands + counted)
	_, err := difftest.Stream(d.addr, out, len(out))
	testkit.Must(t, err)
	name, value, wait := strings.Cut(p.until, " ")
	for deadline := time.Now().Add(testTimeout); wait; { // memcached's thread takes its time
		settings, _ := statisticsAs(t, d, p.auth, "stats settings")
		if wait = settings[name] != value; wait && time.Now().After(deadline) {
			t.Fatalf("%s: %s is %q, and not %q", d.name, name, settings[name], value)
		}
	}
	return d
}

// TestStatisticsHaveMemcachedsNamesAndKinds in each group, in its order, with the options and commands by which memcached omits or adds some.
func TestStatisticsHaveMemcachedsNamesAndKinds(t *testing.T) {
	t.Parallel()
	for name, p := range preparations {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			reference := p.start(t, memcached(t))
			path, err := evcached()
			testkit.Must(t, err)
			evcached := p.start(t, path)
			for _, report := range reports {
				if report.command == "stats conns" {
					continue // a listener is a connection to memcached
				}
				want, wantNames := statisticsAs(t, reference, p.auth, report.command)
				got, gotNames := statisticsAs(t, evcached, p.auth, report.command)
				gotNames = slices.DeleteFunc(gotNames, func(name string) bool { return ours[name] != "" })
				if want, got := strings.Join(wantNames, "\n"), strings.Join(gotNames, "\n"); got != want {
					t.Errorf("%s: the names are\n%s\n\nwant\n%s", report.command, got, want)
				}
				for name, value := range want {
					if kind(got[name]) != kind(value) {
						t.Errorf("%s: %s is %q, %s; memcached's is %q, %s", report.command, name, got[name], kind(got[name]), value, kind(value))
					}
				}
			}
		})
	}
}

var kinds = []struct {
	name    string
	matches *regexp.Regexp
}{
	{"a whole number", regexp.MustCompile(`^-?[0-9]+$`)},
	{"a number with two decimals", regexp.MustCompile(`^-?[0-9]+\.[0-9]{2}$`)},
	{"a number with three decimals", regexp.MustCompile(`^-?[0-9]+\.[0-9]{3}$`)},
	{"a time", regexp.MustCompile(`^[0-9]+\.[0-9]{6}$`)},
	{"yes or no", regexp.MustCompile(`^(yes|no)$`)},
	{"on or off", regexp.MustCompile(`^(on|off)$`)},
	{"a word", regexp.MustCompile(`.`)},
}

// kind is the type of a value, as a monitoring program may determine it.
func kind(value string) string {
	for _, k := range kinds {
		if k.matches.MatchString(value) {
			return k.name
		}
	}
	return "nothing"
}

var leadingNumber = regexp.MustCompile(`(^|:)\d+:`)

// statistics are the values of a report by name, and the names in their order; the number of a class or a connection is N, and the sum over
// the classes is told.
func statistics(t *testing.T, d *daemon, command string) (have map[string]string, names []string) {
	t.Helper()
	return statisticsAs(t, d, "", command)
}

// statisticsAs are those on a connection that authenticates first, if auth is not empty.
func statisticsAs(t *testing.T, d *daemon, auth, command string) (have map[string]string, names []string) {
	t.Helper()
	out := []byte(auth + command + "\r\n")
	answer, err := difftest.Stream(d.addr, out, len(out))
	testkit.Must(t, err)
	text := strings.Split(string(answer), "\r\n")
	if len(text) < 2 || text[len(text)-2] != "END" {
		t.Fatalf("%s: %s: the answer does not end: %q", d.name, command, answer)
	}
	if auth != "" {
		text = text[1:] // STORED
	}
	have = map[string]string{}
	for _, line := range text[:len(text)-2] {
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 || words[0] != "STAT" {
			t.Errorf("%s: %s: %q is no statistic", d.name, command, line)
			continue
		}
		name, value := leadingNumber.ReplaceAllString(words[1], "${1}N:"), words[2]
		if size, err := strconv.Atoi(name); err == nil && size%32 == 0 {
			name = "a multiple of 32"
		}
		before, err1 := strconv.Atoi(have[name])
		n, err2 := strconv.Atoi(value)
		if err1 == nil && err2 == nil {
			value = strconv.Itoa(before + n)
		}
		if _, again := have[name]; !again {
			names = append(names, name)
		}
		have[name] = value
	}
	return have, names
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
			testkit.Must(t, err)
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
				name := leadingNumber.ReplaceAllString(string(f.Key), "${1}N:")
				names = append(names, name)
			}
			inText, _ := statistics(t, d, report.command)
			for name := range inText {
				if !slices.Contains(names, name) {
					t.Errorf("%s: %s: %s is not in the binary protocol's", d.name, report.command, name)
				}
			}
		}
	}
}
