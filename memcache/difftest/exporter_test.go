package difftest_test

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// buildExporter builds Prometheus's exporter of memcached's statistics, which has a module of its own beside this one, or skips the
// test.
func buildExporter(t *testing.T) string {
	t.Helper()
	if !testkit.Foreign() {
		t.Skip("the exporter is built with EVMQ_FOREIGN=1 only")
	}
	path := filepath.Join(binaries, "memcached_exporter")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/prometheus/memcached_exporter/cmd/memcached_exporter")
	build.Dir = "exporter"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}

var slabLabel = regexp.MustCompile(`slab="\d+"`)

// scrape returns the metrics of a server, with their labels, by name; the number of a class is N.
func scrape(t *testing.T, exporter *daemon, d *daemon) map[string]string {
	t.Helper()
	c := &http.Client{Timeout: testTimeout}
	defer c.CloseIdleConnections()
	answer, err := c.Get("http://" + exporter.addr + "/scrape?target=" + url.QueryEscape(d.addr))
	testkit.Must(t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: the scrape fails: %s", d.name, answer.Status)
	}
	metrics := map[string]string{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(slabLabel.ReplaceAllString(lines.Text(), `slab="N"`), " "); ok && strings.HasPrefix(name, "memcached_") {
			metrics[name] = value
		}
	}
	return metrics
}

// TestPrometheusExporterHasTheSameMetricsForBoth: the names and labels are the same, and no scrape fails.
func TestPrometheusExporterHasTheSameMetricsForBoth(t *testing.T) {
	t.Parallel()
	path := buildExporter(t)
	// With its own way of starting, since startMemcached turns the thread off that some metrics are about.
	reference, evcached := start(t, memcached(t)), startEvcached(t)
	addr := net.JoinHostPort("127.0.0.1", freePort(t))
	exporter := launch(t, addr, path, "--web.listen-address="+addr)
	if !exporter.waits() {
		t.Fatalf("the exporter did not start:\n%s", &exporter.output)
	}
	for _, what := range []struct{ name, requests string }{{"empty", "mn\r\n"}, {"used", counted}, {"temporary items", "lru temp_ttl 60\r\n"}} {
		for _, d := range []*daemon{reference, evcached} {
			_, err := difftest.Stream(d.addr, []byte(what.requests), len(what.requests))
			testkit.Must(t, err)
		}
		want, got := scrape(t, exporter, reference), scrape(t, exporter, evcached)
		if len(want) < 50 || want["memcached_up"] != "1" {
			t.Fatalf("%s: of memcached there are %d metrics, and memcached_up is %q", what.name, len(want), want["memcached_up"])
		}
		if got["memcached_up"] != "1" {
			t.Errorf("%s: memcached_up is %q", what.name, got["memcached_up"])
		}
		for name := range want {
			if _, ok := got[name]; !ok {
				t.Errorf("%s: %s is missing", what.name, name)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%s: %s is not among memcached's", what.name, name)
			}
		}
	}
}
