package difftest_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/evmq/evmq/internal/testkit"
)

var verdict = regexp.MustCompile(`(?m)^(.+?)\s*\[(pass|FAIL)\]`)

// capabilities starts libmemcached's protocol test with a server. The function waits for it and returns the result of each of its
// cases.
func capabilities(t *testing.T, d *daemon) func() map[string]string {
	t.Helper()
	host, port, err := net.SplitHostPort(d.addr)
	testkit.Must(t, err)
	run := launch(t, d.addr, testkit.Program(t, "memccapable"), "-h", host, "-p", port, "-t", "5")
	return func() map[string]string {
		<-run.ended
		verdicts := map[string]string{}
		for _, match := range verdict.FindAllStringSubmatch(run.output.String(), -1) {
			verdicts[match[1]] = match[2]
		}
		if len(verdicts) < 50 {
			t.Fatalf("memccapable against %s has only %d cases:\n%s", d.name, len(verdicts), &run.output)
		}
		return verdicts
	}
}

// TestMemccapable compares the results of libmemcached's test for evcached and memcached. Some of its cases require what memcached 1.6 does not
// do any more: those do not count.
func TestMemccapable(t *testing.T) {
	t.Parallel()
	reference, ours := capabilities(t, startMemcached(t)), capabilities(t, startEvcached(t))
	want, got := reference(), ours()
	for name, verdict := range want {
		if verdict == "pass" && got[name] != "pass" {
			t.Errorf("%s: %q, and memcached passes", name, got[name])
		}
	}
}

// TestLibmemcachedTools copies files in and out with the programs that libmemcached brings.
func TestLibmemcachedTools(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d *daemon) {
		run := func(name string, args ...string) string {
			t.Helper()
			out, err := exec.Command(testkit.Program(t, name), append([]string{"--servers=" + d.addr}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
			}
			return string(out)
		}
		run("memcping")
		for _, protocol := range []string{"", "--binary"} {
			flags := strings.Fields(protocol)
			file := filepath.Join(t.TempDir(), "file"+strings.TrimPrefix(protocol, "--"))
			text := "the first line\nthe second line"
			testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
			run("memccp", append(flags, file)...)
			equal(t, strings.TrimRight(run("memccat", append(flags, filepath.Base(file))...), "\n"), text)
			run("memctouch", append(flags, "--expire=100", filepath.Base(file))...)
			run("memcexist", append(flags, filepath.Base(file))...)
			run("memcrm", append(flags, filepath.Base(file))...)
			if out, err := exec.Command(testkit.Program(t, "memcexist"), append(flags, "--servers="+d.addr, filepath.Base(file))...).CombinedOutput(); err == nil {
				t.Errorf("memcexist finds what memcrm has removed: %s", out)
			}
		}
		if stats := run("memcstat"); !strings.Contains(stats, "curr_items") {
			t.Errorf("memcstat does not say curr_items:\n%s", stats)
		}
		run("memcflush")
	})
}

// proxyConfig is twemproxy's configuration for three servers. One that fails once is left out for a while.
const proxyConfig = `pool:
  listen: 127.0.0.1:%s
  hash: md5
  distribution: ketama
  auto_eject_hosts: true
  server_failure_limit: 1
  server_retry_timeout: 600000
  timeout: 5000
  servers:
   - %s:1
   - %s:1
   - %s:1
`

// TestTwemproxySpreadsOverThree runs three evcacheds behind twemproxy: items are distributed over them and found again, and when one is
// killed the others go on and take over its keys.
func TestTwemproxySpreadsOverThree(t *testing.T) {
	t.Parallel()
	path := testkit.Program(t, "nutcracker")
	servers := []*daemon{startEvcached(t), startEvcached(t), startEvcached(t)}
	port, stats := freePort(t), freePort(t)
	config := filepath.Join(t.TempDir(), "nutcracker.yml")
	testkit.Must(t, os.WriteFile(config, fmt.Appendf(nil, proxyConfig, port, servers[0].addr, servers[1].addr, servers[2].addr), 0o600))
	proxy := launch(t, net.JoinHostPort("127.0.0.1", port), path,
		"-c", config, "-a", "127.0.0.1", "-s", stats, "-p", filepath.Join(filepath.Dir(config), "pid"), "-o", filepath.Join(filepath.Dir(config), "log"))
	if !proxy.waits() {
		t.Fatalf("nutcracker did not start:\n%s", &proxy.output)
	}
	c := memcache.New(proxy.addr)
	defer c.Close()

	const n = 600
	key := func(i int) string { return fmt.Sprint("key", i) }
	for i := range n {
		testkit.Must(t, c.Set(&memcache.Item{Key: key(i), Value: []byte(key(i))}))
	}
	var keys []string
	for i := range n {
		keys = append(keys, key(i))
	}
	items, err := c.GetMulti(keys)
	testkit.Must(t, err)
	equal(t, len(items), n)
	for _, key := range keys {
		equal(t, string(items[key].Value), key)
	}
	total := 0
	for _, d := range servers {
		direct := memcache.New(d.addr)
		defer direct.Close()
		has, err := direct.GetMulti(keys)
		testkit.Must(t, err)
		if total += len(has); len(has) < n/10 {
			t.Errorf("one of the servers has %d of %d items", len(has), n)
		}
	}
	equal(t, total, n)

	servers[0].kill()
	failed := 0
	for i := range n {
		if _, err := c.Get(key(i)); err != nil && err != memcache.ErrCacheMiss {
			failed++ // the proxy notices
		}
	}
	if failed > n/10 {
		t.Errorf("%d of %d requests failed after one of three servers was killed", failed, n)
	}
	for i := range n {
		testkit.Must(t, c.Set(&memcache.Item{Key: key(i), Value: []byte("again")}))
		it, err := c.Get(key(i))
		testkit.Must(t, err)
		equal(t, string(it.Value), "again")
	}
}
