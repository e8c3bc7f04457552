# The connectors' pages are those of their manifests.
use strict;
use warnings;

use FindBin;
use Test::More;

is(`/usr/bin/python3 $FindBin::RealBin/../../doc/connectors/generate --check 2>&1`, '', 'the pages are up to date');

done_testing();
