package poller_test

import (
	"testing"

	"github.com/evmq/evmq/internal/poller"
)

func TestFeaturesString(t *testing.T) {
	for f, want := range map[poller.Features]string{
		0:                     "",
		poller.FeatureEdge:    "edge",
		poller.FeatureAnyFile: "anyfile",
		poller.FeatureClosed | poller.FeatureStale: "closed|stale",
	} {
		if got := f.String(); got != want {
			t.Errorf("%d: got %q, want %q", f, got, want)
		}
	}
}
