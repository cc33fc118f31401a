# What `make install`, `make uninstall` and `make dist` do; Makefile.PL's Makefile includes it.

blib/include/rts3.h : include/rts3.h
	$(NOECHO) $(MKPATH) blib/include
	$(NOECHO) $(CP) include/rts3.h $@

# The library stays beside the module, so pkg-config says where
blib/pkgconfig/rts3.pc : include/rts3.pc.in Makefile
	$(NOECHO) $(MKPATH) blib/pkgconfig
	$(NOECHO) sed -e 's|@libdir@|$(INSTALLSITELIB)/$(LIBRARY_DIRECTORY)|; s|@includedir@|$(LOCAL_PREFIX)/include|' \
		-e 's|@version@|$(VERSION)|; s|@rpath@|-Wl,-rpath,$${libdir}|' include/rts3.pc.in >$@

# RT keeps what it compiled of its pages, and does not look whether they have changed
FORGET_PAGES = if [ -z "$(DESTDIR)" ] && [ -d "$(MASON_OBJECTS)" ]; then \
	find "$(MASON_OBJECTS)" -type f -path '*ExternalStorage*' -exec rm -f {} +; fi
UNINSTALL = $(ABSPERLRUN) script/uninstall "$(PACKLIST)" "$(INSTALLSITELIB)" "$(LOCAL_HTML)" "$(LOCAL_PREFIX)" "$(DESTDIR)"

install :: pure_install
	$(NOECHO) $(ECHO) "Installed. Restart RT's web server after configuring it: perldoc $(INSTALLSITELIB)/RT/ExternalStorage/AmazonS3.pm"

# Readable for the web server's user whatever umask root has. What an older version had and this one has not goes.
pure_install :: all
	$(NOECHO) if [ -e "$(PACKLIST)" ]; then cat "$(PACKLIST)" >>"$(PACKLIST).old"; rm -f "$(PACKLIST)"; fi
	$(NOECHO) umask 022; $(MOD_INSTALL) \
		write "$(PACKLIST)" \
		"$(INST_LIB)" "$(DESTINSTALLSITELIB)" \
		blib/html "$(DESTDIR)$(LOCAL_HTML)" \
		blib/include "$(DESTDIR)$(LOCAL_PREFIX)/include" \
		blib/pkgconfig "$(DESTDIR)$(LOCAL_PREFIX)/lib/pkgconfig" \
		"$(INST_SCRIPT)" "$(DESTINSTALLSITESCRIPT)" \
		"$(INST_MAN1DIR)" "$(DESTINSTALLSITEMAN1DIR)" \
		"$(INST_MAN3DIR)" "$(DESTINSTALLSITEMAN3DIR)"
	$(NOECHO) rm -f "$(DESTINSTALLSITELIB)/$(LIBRARY_DIRECTORY)"/librts3.so.*
	$(NOECHO) ln -s librts3.so "$(DESTINSTALLSITELIB)/$(LIBRARY_DIRECTORY)/$(SONAME)"
	$(NOECHO) $(UNINSTALL) --older
	$(NOECHO) $(FORGET_PAGES)

uninstall ::
	$(NOECHO) $(UNINSTALL)
	$(NOECHO) $(FORGET_PAGES)

# What is in the repository, but for what MANIFEST.SKIP names; a tarball has its list
create_distdir : manifest_of_repository
manifest_of_repository :
	$(NOECHO) if [ -e .git ]; then (git ls-files; echo MANIFEST) | grep -vEf MANIFEST.SKIP | sort -u >MANIFEST; fi
