package calls

import "testing"

// TestRepeatBudget: a service that is only slow does not get every request again.
func TestRepeatBudget(t *testing.T) {
	c := &Calls{budget: 2 * repeatPrice}
	for i, want := range []bool{true, true, false} {
		if got := c.mayRepeat(); got != want {
			t.Errorf("mayRepeat() #%d = %v, want %v", i, got, want)
		}
	}
	for range repeatPrice {
		c.earnRepeat()
	}
	if !c.mayRepeat() || c.mayRepeat() {
		t.Error("after as many answers as one costs, want one repeat")
	}
}
