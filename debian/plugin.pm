# RT finds its module for S3 in the package rt-externalstorage-s3, before its own. This file is read last, so that
# Set(@Plugins, ...) in another one does not undo it; without the package it does nothing.
Plugin('RT::ExternalStorage::AmazonS3') if -e '/usr/share/rt-externalstorage-s3/lib/RT/ExternalStorage/AmazonS3.pm';

1;
